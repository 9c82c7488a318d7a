"""What both HTTP adapters say about a reply in the same words."""

from collections.abc import Iterable

from gateway.core.upstream import UpstreamInvalid


def joined_headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Lower-case names; repeated fields joined as RFC 9110 section 5.3 has it. Header bytes are latin-1."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in raw:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def is_encoded(content_encoding: str | None) -> bool:
    """A body that came compressed although identity was asked for: the meter cannot read it, and it may be a bomb."""
    return content_encoding is not None and content_encoding.strip().lower() not in ("", "identity")


def encoded_reply() -> UpstreamInvalid:
    return UpstreamInvalid("the upstream encoded its reply although it was asked not to")


def oversized_reply() -> UpstreamInvalid:
    return UpstreamInvalid("the upstream's reply is larger than allowed")
