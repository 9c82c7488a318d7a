"""Where a benchmark of correctness runs: the scripted provider as a process, gateways in directories of their own."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.fixtures import UpstreamProcess
from tests.support.gateway import PRICE, GatewayProcess

UPSTREAM_MODEL = "mock-ok"
OUTPUT_MAX = 4096


class Site:
    """`small` = a size that a test can afford. Ends everything that it started."""

    def __init__(self, directory: Path, upstream: UpstreamProcess, *, small: bool) -> None:
        self.directory = directory
        self.upstream = upstream
        self.small = small
        self._stack = ExitStack()
        self._made = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def place(self) -> Path:
        """A new empty directory."""
        self._made += 1
        place = self.directory / f"place-{self._made}"
        place.mkdir(parents=True)
        return place

    def gateway(self, **options: Any) -> GatewayProcess:
        """A running gateway in front of the scripted provider, which has forgotten its rules and its log."""
        self.upstream.reset()
        return self._stack.enter_context(GatewayProcess(self.place(), self.upstream.base_url, **options))

    def size(self, full: int, small: int) -> int:
        return small if self.small else full


def model(**fields: Any) -> dict[str, Any]:
    """A model of the scripted provider: a micro-USD an input token, two an output token, a token a word."""
    known = {"provider": "mock", "model": UPSTREAM_MODEL, "price": PRICE, "max_output_tokens": OUTPUT_MAX}
    return {**known, "token_factor": 1.0, **fields}


def keys(count: int) -> list[dict[str, Any]]:
    """One a round: a key that was refused often in one minute is answered from memory (rule 33)."""
    return [{"name": f"k{n}", "user": f"u{n}", "team": "bench"} for n in range(count)]
