"""Which headers of a provider's reply may reach the client.

A closed list, because everything else speaks of the provider's connection (hop-by-hop), of the account behind the
shared key (cookies, organisation, rate limits) or of retrying, which only our own decision may ask for.
"""

from collections.abc import Mapping

VALUE_CHARS_MAX = 1024
_ALLOWED = frozenset(
    {
        "content-type",
        "x-request-id",
        "request-id",
        "apim-request-id",
        "x-amzn-requestid",
        "openai-model",
        "openai-processing-ms",
        "openai-version",
    }
)


def passable_headers(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The allowed ones, names in lower case. A value that is not plain printable ASCII is left out, never repaired."""
    return tuple((name, value) for name, value in headers.items() if name in _ALLOWED and is_plain(value))


def is_plain(value: str) -> bool:
    """No CR, LF, NUL or any other control character but the tab (RFC 9110 section 5.5), no obs-text, not too long."""
    return len(value) <= VALUE_CHARS_MAX and value.isascii() and value.replace("\t", " ").isprintable()
