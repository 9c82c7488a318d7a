"""Starts the servers of a measurement, pins them to a core, and reads their CPU time and memory. Linux only.

Figures are of the whole process tree of a server, because some servers (Hypercorn, LiteLLM) work in a child.
"""

import http.client
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


class NotReady(Exception):
    """A server ended or did not answer in time. The text ends with the tail of its log."""


@dataclass(frozen=True, slots=True)
class Server:
    """What to start. `ready_path` answers 200 as soon as calls may come."""

    command: Sequence[str]
    port: int
    ready_path: str
    environment: Mapping[str, str]
    directory: Path
    core: int | None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def pinned(command: Sequence[str], core: int | None) -> list[str]:
    taskset = shutil.which("taskset")
    if core is None or taskset is None:
        return list(command)
    return [taskset, "--cpu-list", str(core), *command]


@contextmanager
def running(server: Server, *, ready_within_s: float = 90.0) -> Iterator[int]:
    """Gives the process id once the server is ready, and ends it and all its children afterwards."""
    log_path = server.directory / "output.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            pinned(server.command, server.core),
            env={**os.environ, **server.environment},
            cwd=server.directory,
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # so that its children can be ended with it
        )
    try:
        _wait_until_ready(process, server, log_path, ready_within_s)
        yield process.pid
    finally:
        _stop(process)


def _wait_until_ready(process: subprocess.Popen[bytes], server: Server, log_path: Path, within_s: float) -> None:
    until_s = time.monotonic() + within_s
    while not _answers(server.port, server.ready_path):
        if process.poll() is not None or time.monotonic() > until_s:
            tail = log_path.read_text(errors="replace")[-1500:]
            state = "did not get ready" if process.returncode is None else f"ended with {process.returncode}"
            raise NotReady(f"{Path(server.command[0]).name} {state}: {tail.strip()}")
        time.sleep(0.1)


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=15)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def tree(pid: int) -> list[int]:
    """The process and its descendants."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


def cpu_ns(pid: int) -> int:
    """User and system time that the process tree has used so far."""
    return sum(_process_cpu_ns(each) for each in tree(pid))


def _process_cpu_ns(pid: int) -> int:
    # clock_getcpuclockid(3), which Python does not offer: what /proc/<pid>/stat says in ticks of 10 ms, in nanoseconds.
    try:
        return time.clock_gettime_ns((~pid << 3) | 2)
    except OSError:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(after_name[11]) + int(after_name[12])) * _TICK_NS


def rss_bytes(pid: int) -> int:
    """Resident memory of the process tree; pages that two of its processes share count twice."""
    return sum(int(Path(f"/proc/{each}/statm").read_text().split()[1]) * _PAGE_BYTES for each in tree(pid))
