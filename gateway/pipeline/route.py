"""Routes: before a call is held, the operator's rules may lead it to another model (`gateway.core.routing`)."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from gateway.core.catalog import Model
from gateway.core.condition_context import PolicyContext
from gateway.core.denial import Refused
from gateway.core.routing import Route, first_route
from gateway.pipeline.plane import Plane

T = TypeVar("T")


async def route_of(
    plane: Plane, asked: Model, context: Callable[[], Awaitable[PolicyContext]], admit: Callable[[Model], Awaitable[T]]
) -> tuple[Route, T] | None:
    """The route that takes this call, with what `admit` makes of it; None where it keeps its model: no rule says
    otherwise, or the caller may not use the model that one names (`admit` raises Refused)."""
    routes = [route for route in plane.catalog.routes if route.takes(asked.alias)]
    if not routes:
        return None
    route = first_route(routes, await context())
    if route is None:
        return None
    try:
        return route, await admit(plane.catalog.models[route.to])
    except Refused:
        return None
