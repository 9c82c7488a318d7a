"""One hop to another model (rule 28): there the limits are chosen again, the call is authorized, priced and held.

What refuses a call raises `Reroute` with its own denial; if the other model does not take the call either, that first
denial is what the caller is told. There is no second hop.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from gateway.core.catalog import Model
from gateway.core.denial import Denial, Refused
from gateway.pipeline.plane import Plane

T = TypeVar("T")


class Reroute(Exception):
    """A call is to go to the alias `model`; `first` is its denial if that fails, `why` the words for the header."""

    def __init__(self, model: str, first: Denial, why: str) -> None:
        super().__init__(f"to {model}: {why}")
        self.model = model
        self.first = first
        self.why = why


async def reroute(plane: Plane, hop: Reroute, asked: Model, attempt: Callable[[Model], Awaitable[T]]) -> T:
    """What `attempt` makes of the call at the other model. Raises Refused with the first denial."""
    model = plane.catalog.models.get(hop.model)
    if model is None or model.alias == asked.alias:
        raise Refused(hop.first)
    try:
        return await attempt(model)
    except (Refused, Reroute) as error:
        raise Refused(hop.first) from error
