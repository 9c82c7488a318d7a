"""A limit with reserved parts as it binds a call: with it come the counters of its owners, on which the call counts
where it is an owner's, and which it only looks at where it is not."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from gateway.core.attribution import Attribution
from gateway.core.counter import NEVER_US
from gateway.core.hold import Binding
from gateway.core.limit import kind_and_value
from gateway.core.reserved import Part, part_limits, part_of
from gateway.limiter.past import recorded_kind

TermsOf = Callable[[Attribution, Sequence[str]], tuple[tuple[str, str | None], ...]]


def parted(b: Binding, attribution: Attribution, terms_of: TermsOf) -> list[Binding]:
    """The binding itself, and after it one for each of its parts."""
    if not b.limit.reserved:
        return [b]
    parts, places = [], []
    for limit, (subject, share) in zip(part_limits(b.limit), b.limit.reserved, strict=True):
        kind, value = kind_and_value(subject)
        own = attribution.matches(kind, value)
        owner = attribution if own else replace(attribution, **{kind: value})  # type: ignore[arg-type]
        kinds = tuple(recorded_kind(each, owner) for each in limit.kinds())
        place = Binding(limit, b.scope, NEVER_US, terms_of(owner, kinds), hard=False, draw=b.draw, counts=own)
        places.append(place)
        parts.append(Part((limit.name, b.scope), part_of(b.amount, share), own))
    return [replace(b, parts=tuple(parts)), *places]
