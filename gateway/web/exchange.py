"""One HTTP request as every handler sees it, whichever lane it came by. Names in lower case; body read on demand."""

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl

from gateway.core.denial import Code, Denial, Refused


def headers_of(raw: Mapping[bytes, bytes]) -> dict[str, str]:
    """ASGI headers as text. Decoding all of them at once costs less than asking for the dozen that are looked at."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in raw.items()}


class Request(NamedTuple):
    """`at_us` and `at_ns` are when its headers were here; `parameters` come from the route's path; `left` returns when
    the client is gone, and may be asked once the body was read."""

    method: str
    path: str
    raw_query: bytes
    headers: Mapping[str, str]
    client: str
    at_us: int
    at_ns: int
    read_body: Callable[[], Awaitable[bytes]]
    parameters: Mapping[str, str]
    left: Callable[[], Awaitable[object]]

    def query(self) -> dict[str, str]:
        """Each name with its value. Raises Refused for a name that comes twice: one of its values would be dropped."""
        if not self.raw_query:
            return {}
        pairs = parse_qsl(self.raw_query.decode("latin-1"), keep_blank_values=True)
        found = dict(pairs)
        if len(found) < len(pairs):
            raise Refused(Denial(Code.REQUEST_MALFORMED, "A parameter of the query came more than once."))
        return found
