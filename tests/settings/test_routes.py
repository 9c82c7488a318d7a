"""Routes in the configuration."""

import pytest

from gateway.settings import parse
from tests.settings.samples import ENVIRONMENT, PATH, faults

BEFORE = """
providers: {sim: {kind: simulated}}
models: {dear: {provider: sim}, cheap: {provider: sim}}
routes:
"""


def test_one_model_or_several_with_or_without_a_condition() -> None:
    rows = (
        "name: a, from: dear, to: cheap, when: call.stream",
        "name: b, from: [dear], to: cheap",
        "name: c, to: cheap",
    )
    text = BEFORE + "".join(f"  - {{{row}}}\n" for row in rows)
    routes = parse(text.encode(), ENVIRONMENT, path=PATH).settings.routes
    assert [(route.models, route.to, route.when) for route in routes] == [
        (("dear",), "cheap", "call.stream"),
        (("dear",), "cheap", None),
        ((), "cheap", None),
    ]


@pytest.mark.parametrize(
    ("route", "said"),
    [
        ("{name: a, from: deer, to: cheap}", "there is no model `deer`"),
        ("{name: a, from: [dear, chip], to: cheap}", "there is no model `chip`"),
        ("{name: a, from: dear, to: chip}", "there is no model `chip`"),
        ("{name: a, from: [dear, cheap], to: cheap}", "is where these calls come from"),
        ("{name: a, to: cheap, when: call.size < 3}", "call.size"),
        ("{name: a, to: cheap, when: args.path == 'x'}", "a model call has no `args`"),
        ("{name: a, to: cheap, when: 'call.stream and'}", "character"),
        ("{to: cheap}", "name"),
    ],
)
def test_a_route_that_cannot_be_meant_is_refused(route: str, said: str) -> None:
    found = faults(BEFORE + f"  - {route}\n")
    assert any(said in fault for fault in found), found
