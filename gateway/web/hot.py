"""Which requests may skip Quart: a look-up by method and path, and by what stands around the parameter of a path.

Rule: what is found here is what Quart's own routing finds, handler and parameters alike; what is not found goes to
Quart, so a path may be missed here, but never understood otherwise. Both see the path as the server decoded it.
"""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from gateway.web.face import Handler
from gateway.web.routes import Route

_PARAMETER = re.compile(r"(?P<prefix>[^<>]*)<(?P<path>path:)?(?P<name>\w+)>(?P<suffix>[^<>]*)")
_PATH_VALUE = re.compile(r"[^/].*")
_VALUE = re.compile(r"[^/]+")
"""As Werkzeug's converters have them; a dot is no line end."""
_NONE: Mapping[str, str] = MappingProxyType({})


class Found(NamedTuple):
    handler: Handler
    parameters: Mapping[str, str]


class _Around(NamedTuple):
    prefix: str
    suffix: str
    name: str
    value: re.Pattern[str]
    handler: Handler


class HotRoutes:
    """Those of `routes` that are fast. Raises ValueError for one with several parameters in its path."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._exact: dict[tuple[str, str], Found] = {}
        self._around: dict[str, list[_Around]] = {}
        for route in routes:
            if route.fast:
                self._add(route)

    def find(self, method: str, path: str) -> Found | None:
        found = self._exact.get((method, path))
        if found is not None:
            return found
        for prefix, suffix, name, value, handler in self._around.get(method, ()):
            if path.startswith(prefix) and path.endswith(suffix):
                given = path[len(prefix) : len(path) - len(suffix)]
                if value.fullmatch(given):
                    return Found(handler, {name: given})
        return None

    def _add(self, route: Route) -> None:
        if "<" not in route.path:
            self._exact[route.method, route.path] = Found(route.handler, _NONE)
            return
        parts = _PARAMETER.fullmatch(route.path)
        if parts is None:
            raise ValueError(f"{route.path} has more than one parameter")
        value = _PATH_VALUE if parts["path"] else _VALUE
        around = _Around(parts["prefix"], parts["suffix"], parts["name"], value, route.handler)
        self._around.setdefault(route.method, []).append(around)
