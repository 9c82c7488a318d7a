"""`x-comptroller-tags: project=x,ticket=y`: what a client says of a call for attribution."""

from collections.abc import Mapping

from gateway.core.denial import Code, Denial, Refused

TAGS_HEADER = "x-comptroller-tags"
TAGS_MAX = 16
TAG_LENGTH_MAX = 64


def tags_of(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Sorted pairs. Tags attribute; they never loosen a limit or a rule. Raises Refused (`request_malformed`)."""
    header = headers.get(TAGS_HEADER)
    if not header:
        return ()
    tags = {}
    for part in header.split(","):
        name, separator, value = part.strip().partition("=")
        sizes = 0 < len(name) <= TAG_LENGTH_MAX and 0 < len(value) <= TAG_LENGTH_MAX
        if not separator or not sizes or not (name + value).isprintable():
            text = f"x-comptroller-tags must read `name=value,name=value`, each at most {TAG_LENGTH_MAX} characters."
            raise Refused(Denial(Code.REQUEST_MALFORMED, text))
        tags[name] = value
    if len(tags) > TAGS_MAX:
        raise Refused(Denial(Code.REQUEST_MALFORMED, f"At most {TAGS_MAX} tags are taken."))
    return tuple(sorted(tags.items()))
