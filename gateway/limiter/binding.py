"""Which counters a call falls on: one for each limit that binds it; of a limit on sessions one for the call's own
session and one for each ancestor, so that what a child spends counts on all of them (rule 16)."""

from collections.abc import Iterable

from gateway.core.attribution import Attribution
from gateway.core.budget import DRAWS
from gateway.core.child_part import CHILD_PARTS
from gateway.core.hold import Binding
from gateway.core.limit import Limit
from gateway.core.session import Lineage, Place
from gateway.limiter.parts import TermsOf, parted
from gateway.limiter.past import recorded_kind


def bindings_of(
    limits: Iterable[Limit], attribution: Attribution, session_id: str, lineage: Lineage, terms_of: TermsOf
) -> list[Binding]:
    """In the order of the limits, then the parts of the session and of its ancestors."""
    places = lineage or (Place(session_id),)
    found = []
    for limit in limits:
        if limit.in_session:
            own = [place.session_id for place in places if limit.binds(attribution, place.session_id)]
            found += [_bind(limit, attribution, at, terms_of, counted_in=at) for at in own]
        elif limit.binds(attribution, session_id):
            found += parted(_bind(limit, attribution, session_id, terms_of, counted_in=""), attribution, terms_of)
    return found + [
        Binding(
            CHILD_PARTS[part.unit],
            f"session:{place.session_id}",
            part.amount,
            (),
            draw=DRAWS.get(part.unit),
            session_id=place.session_id,
        )
        for place in places
        for part in place.parts
    ]


def _bind(limit: Limit, attribution: Attribution, session_id: str, terms_of: TermsOf, *, counted_in: str) -> Binding:
    kinds = tuple(recorded_kind(kind, attribution) for kind in limit.kinds())
    return Binding(
        limit,
        limit.scope(attribution, session_id),
        limit.amount_for(attribution, session_id),
        terms_of(attribution, kinds),
        hard=limit.hard,
        draw=DRAWS.get(limit.unit),
        session_id=counted_in,
    )
