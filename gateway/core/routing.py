"""Routes: calls that ask for a dear model and do not need it go to a cheaper one, by the operator's rule.

Rule: a route changes what is asked, never what is allowed: the call is authorized, priced and held as one for the model
that it goes to. What its condition does not know is false, so a call that cannot be judged keeps its model.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.core.condition import Condition
from gateway.core.condition_context import PolicyContext


@dataclass(frozen=True, slots=True)
class Route:
    """Calls of the aliases `models` (none = of every alias but `to`) whose condition holds go to the alias `to`."""

    name: str
    models: tuple[str, ...]
    to: str
    when: Condition | None

    def takes(self, model: str) -> bool:
        return model != self.to and (not self.models or model in self.models)


def first_route(routes: Iterable[Route], context: PolicyContext) -> Route | None:
    """The first of these, in the order of the file, whose condition holds."""
    return next((route for route in routes if route.when is None or route.when.holds_for_allow(context)), None)
