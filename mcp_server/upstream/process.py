"""A tool server as a child process: started without a shell, stopped with everything it started.

Rules: the environment is what the configuration declares beside a few harmless names, so that no credential of the
gateway reaches it; the child leads a process group of its own, and stopping ends the group: close stdin, then TERM,
then KILL (the order of the specification).
"""

import asyncio
import os
import signal
from collections.abc import Mapping
from contextlib import suppress

from gateway.core.upstream import UpstreamFailed

INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")
POLL_S = 0.02
EXIT_POLL_S = 0.1


async def start(command: tuple[str, ...], env: Mapping[str, str], cwd: str | None) -> asyncio.subprocess.Process:
    """Raises UpstreamFailed if the program cannot be started."""
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**inherited, **env},
            cwd=cwd,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "a NUL in the command"
        raise UpstreamFailed(f"the program of the tool server could not be started ({reason})", sent=False) from None


async def exited(process: asyncio.subprocess.Process) -> None:
    """Returns when the program itself has ended, though its children may live on and hold its pipes."""
    while process.returncode is None:  # noqa: ASYNC110 - process.wait() waits for the pipes too
        await asyncio.sleep(EXIT_POLL_S)


async def stop(process: asyncio.subprocess.Process, grace_s: float) -> None:
    """Ends the process and its group; each step has `grace_s` seconds. Nothing of the group is left afterwards."""
    if process.stdin is not None:
        process.stdin.close()
    with suppress(TimeoutError):
        async with asyncio.timeout(grace_s):
            await exited(process)
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not _signal_group(process.pid, number):
            break
        if await _group_gone(process, grace_s):
            break


async def _group_gone(process: asyncio.subprocess.Process, grace_s: float) -> bool:
    deadline = asyncio.get_running_loop().time() + grace_s
    while asyncio.get_running_loop().time() < deadline:
        if process.returncode is not None and not _signal_group(process.pid, 0):
            return True
        await asyncio.sleep(POLL_S)
    return False


def _signal_group(pid: int, number: int) -> bool:
    """Whether there was anyone to signal. The leader's pid is the group's id, also when the leader is gone."""
    with suppress(PermissionError):
        try:
            os.killpg(pid, number)
        except ProcessLookupError:
            return False
    return True
