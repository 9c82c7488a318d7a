"""One HTTP request as every handler sees it, whichever lane it came by. Names in lower case; body read on demand."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl


class ClientLeft(Exception):
    """The client went away before its body was here: there is nobody to answer."""


class HeaderView(Mapping[str, str]):
    """The headers of an ASGI scope without decoding those that nobody asks for."""

    __slots__ = ("_raw",)

    def __init__(self, raw: Mapping[bytes, bytes]) -> None:
        self._raw = raw

    def __getitem__(self, name: str) -> str:
        return self._raw[name.encode("latin-1")].decode("latin-1")

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        value = self._raw.get(name.encode("latin-1"))
        return default if value is None else value.decode("latin-1")

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin-1") for name in self._raw)

    def __len__(self) -> int:
        return len(self._raw)


@dataclass(frozen=True, slots=True)
class Request:
    """`at_us` and `at_ns` are when its headers were here; `parameters` come from the route's path."""

    method: str
    path: str
    raw_query: bytes
    headers: Mapping[str, str]
    client: str
    at_us: int
    at_ns: int
    read_body: Callable[[], Awaitable[bytes]]
    parameters: Mapping[str, str]

    def query(self) -> dict[str, str]:
        """The last value of each name."""
        if not self.raw_query:
            return {}
        return dict(parse_qsl(self.raw_query.decode("latin-1"), keep_blank_values=True))
