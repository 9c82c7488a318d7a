"""Fixtures of the end-to-end tests. `start` makes gateways that end with the test; modules that share one have it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.fixtures import UpstreamProcess, clean_upstream, upstream
from tests.support.gateway import GatewayProcess

__all__ = ["Start", "clean_upstream", "start", "upstream"]

Start = Callable[..., GatewayProcess]

LANES = [
    pytest.param(("hypercorn", True), id="hypercorn-fast"),
    pytest.param(("hypercorn", False), id="hypercorn-quart"),
    pytest.param(("uvicorn", True), id="uvicorn-fast"),
    pytest.param(("uvicorn", False), id="uvicorn-quart"),
]


@pytest.fixture
def prepare(tmp_path: Path, clean_upstream: UpstreamProcess) -> Start:
    """Writes the configuration of a gateway in front of the scripted upstream; arguments as those of GatewayProcess."""

    def make(**options: Any) -> GatewayProcess:
        directory = tmp_path / f"gateway-{len(list(tmp_path.iterdir()))}"
        directory.mkdir()
        gateway = GatewayProcess(directory, clean_upstream.base_url, **options)
        gateway.write()
        return gateway

    return make


@pytest.fixture
def start(prepare: Start) -> Iterator[Start]:
    """Starts gateways; they end with the test."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(prepare(**options))


@pytest.fixture(scope="module", params=LANES)
def lane(request: pytest.FixtureRequest) -> tuple[str, bool]:
    """(server, fast_path): each of the four ways a request can take."""
    found: tuple[str, bool] = request.param
    return found
