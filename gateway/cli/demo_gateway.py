"""The gateway that `comptroller demo` talks to: `comptroller serve` in a process of its own, and its admin API."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx2

from gateway.cli.demo_setup import Ground

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0
SETTLE_TIMEOUT_S = 10.0
LOOK_EVERY_S = 0.03
REQUEST_TIMEOUT_S = 30.0
_ADDRESS = re.compile(r"^Comptroller serves at (http://\S+)$", re.MULTILINE)
T = TypeVar("T")
_SERVE = ("-P", "-c", "from gateway.cli.main import main; main()", "serve")


class DemoFailed(Exception):
    """The gateway did not do what the demo is there to show; the text is for the person who runs it."""


class Gateway:
    """A running gateway: its address, a client for agents, and what an administrator may ask."""

    def __init__(self, url: str, admin_token: str, client: httpx2.AsyncClient) -> None:
        self.url = url
        self.client = client
        self._headers = {"authorization": f"Bearer {admin_token}", "x-comptroller-actor": "demo"}

    async def admin(self, method: str, path: str, **options: Any) -> Any:
        """The JSON answer of the admin API; `path` below /api/v1."""
        reply = await self.client.request(method, f"{self.url}/api/v1{path}", headers=self._headers, **options)
        if reply.status_code >= 400:
            raise DemoFailed(f"{method} {path} was answered with {reply.status_code}: {reply.text[:300]}")
        return reply.json()

    async def booked(self, session_id: str, calls: int) -> Mapping[str, Any]:
        """What the books say of a session once this many calls are booked: an answer does not wait for that."""

        async def look() -> Mapping[str, Any] | None:
            found: Mapping[str, Any] = await self.admin("GET", f"/sessions/{session_id}")
            held = found["in_flight"] or any(limit["held"] for limit in found["limits"])
            return found if found["calls"] >= calls and not held else None

        return await _eventually(look, f"{calls} calls of session {session_id} were not booked")

    async def usage(self, by: Sequence[str], calls: int) -> list[dict[str, Any]]:
        """Who spent what, once this many calls are booked."""

        async def look() -> list[dict[str, Any]] | None:
            rows: list[dict[str, Any]] = (await self.admin("GET", "/usage", params={"by": ",".join(by)}))["rows"]
            return rows if sum(row["calls"] for row in rows) >= calls else None

        return await _eventually(look, f"{calls} calls were not booked")


@asynccontextmanager
async def running(ground: Ground, port: int) -> AsyncIterator[Gateway]:
    """Serves as long as the context lasts. Raises DemoFailed with the gateway's last words if it does not start."""
    command = [sys.executable, *_SERVE, "--config", "comptroller.yaml", "--port", str(port)]
    with ground.log.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=ground.directory, env=_environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        url = await _address(process, ground)
        async with httpx2.AsyncClient(timeout=REQUEST_TIMEOUT_S, trust_env=False) as client:
            yield Gateway(url, ground.admin_token, client)
    finally:
        await asyncio.shield(_end(process))


async def _eventually(look: Callable[[], Awaitable[T | None]], otherwise: str) -> T:
    """The first answer of `look`. Raises DemoFailed after SETTLE_TIMEOUT_S."""
    deadline = asyncio.get_running_loop().time() + SETTLE_TIMEOUT_S
    while (found := await look()) is None:
        if asyncio.get_running_loop().time() > deadline:
            raise DemoFailed(otherwise)
        await asyncio.sleep(LOOK_EVERY_S)
    return found


async def _address(process: asyncio.subprocess.Process, ground: Ground) -> str:
    deadline = asyncio.get_running_loop().time() + START_TIMEOUT_S
    while asyncio.get_running_loop().time() < deadline:
        said = ground.log.read_text("utf-8", errors="replace")
        if found := _ADDRESS.search(said):
            return found.group(1)
        if process.returncode is not None:
            raise DemoFailed(f"the gateway did not start:\n{said.strip()[-2000:]}")
        await asyncio.sleep(LOOK_EVERY_S)
    raise DemoFailed(f"the gateway did not start within {START_TIMEOUT_S:.0f} s; its log is {ground.log}")


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
    except TimeoutError:
        process.kill()
        await process.wait()


def _environment() -> dict[str, str]:
    """Ours without what speaks to another gateway or names a provider's key: nothing of it is needed here."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("COMPTROLLER_") and not name.endswith(("_API_KEY", "_TOKEN", "_SECRET"))
    }
