"""What `comptroller mcp` needs before it can relay."""

import asyncio
import os

from gateway.cli.output import USAGE, fail
from mcp_server.stdio_front import run as relay

DEFAULT_URL = "http://127.0.0.1:8080"


def run(url: str | None) -> int:
    """Returns the exit code."""
    key = os.environ.get("COMPTROLLER_API_KEY")
    if not key:
        fail("COMPTROLLER_API_KEY is not set; it holds the virtual key of this client", USAGE)
    address = url or os.environ.get("COMPTROLLER_URL") or DEFAULT_URL
    return asyncio.run(relay(address, key, os.environ.get("COMPTROLLER_SESSION")))
