"""Who may use a route follows from where it is; what is open to everybody is a short list that a person agreed to."""

from collections import Counter

from gateway.web.admin_routes import ADMIN_ROUTES
from gateway.web.errors import STATUS
from gateway.web.routes import ROUTES, Guard
from tests.tidy.test_docs import code_table

OPEN = frozenset({"/healthz", "/readyz", "/api/openapi.json"})
GUARD_BELOW = (("/v1", Guard.KEY), ("/mcp", Guard.KEY), ("/api/v1/me", Guard.KEY), ("/api/v1", Guard.ADMIN))


def test_what_is_open_to_everybody_was_agreed() -> None:
    assert {route.path for route in ROUTES if route.guard is Guard.PUBLIC} <= OPEN


def test_guards_follow_the_path() -> None:
    wrong = []
    for route in (*ROUTES, *ADMIN_ROUTES):
        guards = [guard for top, guard in GUARD_BELOW if route.path == top or route.path.startswith(f"{top}/")]
        if guards and route.guard is not guards[0]:
            wrong.append(f"{route.method} {route.path}: {route.guard}")
    assert wrong == []


def test_every_route_stands_once_and_says_what_it_is() -> None:
    twice = [key for key, count in Counter((route.method, route.path) for route in ROUTES).items() if count > 1]
    assert twice == []
    assert [route.path for route in ROUTES if not route.summary] == []


def test_statuses_are_the_documented_ones() -> None:
    assert {code.value: status for code, status in STATUS.items()} == {
        c: status for c, (status, _) in code_table().items()
    }
