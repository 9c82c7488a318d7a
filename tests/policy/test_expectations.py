"""tests.yaml is read as strictly as the rows: whatever it gets wrong has a line."""

from datetime import datetime

import pytest

from gateway.policy.expectations import read_expectations
from gateway.policy.rows import Effect

PATH = "policies/tests.yaml"
ONE = "- {as: {user: a}, model: m, expect: allow, because: b}\n"


def test_reads_everything_that_an_expectation_can_say() -> None:
    expectations, findings = read_expectations(
        PATH,
        b"""\
- as: {user: alice, team: platform, role: [auditor, engineer]}
  model: gpt-5
  tool: github__search
  action: tool:call
  context:
    user.groups: [engineering]
    user.labels.level: "3"
    session.depth: 2
    call.stream: true
    time: 2026-11-24T22:30
    limit: {session-tokens: 0.5}
    args: {path: /srv, depth: 2, deep: {list: [1, x, null, 1.5]}, on: false}
  expect: deny
  because: it says so
"""
        + ONE.encode(),
    )
    assert findings == ()
    first, second = expectations
    asked = first.question
    assert asked.subjects == {"user:alice", "team:platform", "role:auditor", "role:engineer"}
    assert (asked.model, asked.tool, asked.action) == ("gpt-5", "github__search", "tool:call")
    assert asked.context.principal == {
        "user.name": "alice",
        "team.name": "platform",
        "user.groups": ("engineering",),
        "user.labels.level": "3",
    }
    assert asked.context.call == {"session.depth": 2, "call.stream": True}
    assert asked.context.local_time == datetime(2026, 11, 24, 22, 30)  # noqa: DTZ001 - local by contract
    assert asked.context.limit_used_ratio("session-tokens") == 0.5
    assert asked.context.limit_used_ratio("other") is None
    assert asked.context.args == {"path": "/srv", "depth": 2, "deep": {"list": [1, "x", None, 1.5]}, "on": False}
    assert (first.expect, first.because, first.place.line) == (Effect.DENY, "it says so", 1)
    assert (second.question.tool, second.question.action, second.place.line) == ("-", "model:invoke", 15)


CONTEXT = "- as: {user: a}\n  model: m\n  expect: allow\n  because: b\n  context: "


@pytest.mark.parametrize(
    ("content", "line", "part"),
    [
        ("", 0, "no list"),
        ("a: b\n", 1, "no list"),
        ("[]\n", 1, "no list"),
        (ONE + "- [\n", 3, "no YAML"),
        (ONE + "\t- a\n", 2, "no YAML"),
        (ONE + "- &x {as: {user: a}, model: m, expect: allow, because: b}\n- *x\n", 0, "aliases"),
        (ONE + "- text\n", 2, "is a mapping"),
        (ONE + "- {model: m, expect: allow, because: b}\n", 2, "as is missing"),
        (ONE + "- {as: {user: a}, expect: allow, because: b}\n", 2, "model is missing"),
        (ONE + "- {as: {user: a}, model: m, because: b}\n", 2, "expect is missing"),
        (ONE + "- {as: {user: a}, model: m, expect: allow}\n", 2, "because is missing"),
        (ONE + "- {as: {user: a}, model: m, expect: Allow, because: b}\n", 2, "no expectation"),
        (ONE + "- {as: {user: a}, model: m, expect: allow, because: }\n", 2, "a text is missing"),
        (ONE + "- {as: {user: a}, model: m, expect: allow, because: b, modle: x}\n", 2, "'modle' is not known"),
        (ONE + "- {as: {user: a}, model: m, model: n, expect: allow, because: b}\n", 2, "given twice"),
        (ONE + "- {as: {human: a}, model: m, expect: allow, because: b}\n", 2, "'human' is not known"),
        (ONE + "- {as: {user: a b}, model: m, expect: allow, because: b}\n", 2, "space inside"),
        (ONE + "- {as: alice, model: m, expect: allow, because: b}\n", 2, "is a mapping"),
        (ONE + "- {as: {user: a}, model: m, action: tool:cal, expect: allow, because: b}\n", 2, "no action"),
        (CONTEXT + "{user.nme: a}\n", 5, "no attribute"),
        (CONTEXT + "{user.name: a}\n", 5, "given already"),
        (CONTEXT + "{user.groups: engineering}\n", 5, "a list of strings"),
        (CONTEXT + "{session.depth: deep}\n", 5, "a number"),
        (CONTEXT + "{user.labels.level: 3}\n", 5, "a string"),
        (CONTEXT + "{model.name: x}\n", 5, "no attribute"),
        (CONTEXT + "{time.hour: 3}\n", 5, "no attribute"),
        (CONTEXT + "{time: noon}\n", 5, "no date"),
        (CONTEXT + "{time: 2026-01-01T00:00+01:00}\n", 5, "local to"),
        (CONTEXT + "{args: path}\n", 5, "a mapping"),
        (CONTEXT + "{limit: {x: lots}}\n", 5, "no number"),
        (CONTEXT + "{args: {a: 1, a: 2}}\n", 5, "given twice"),
        (CONTEXT + "text\n", 5, "a mapping"),
        (b"\xff\n", 0, "not UTF-8"),
    ],
)
def test_what_is_wrong_has_a_line_and_a_fix(content: str | bytes, line: int, part: str) -> None:
    _, findings = read_expectations(PATH, content if isinstance(content, bytes) else content.encode())
    assert [(finding.path, finding.line) for finding in findings] == [(PATH, line)]
    assert part in findings[0].message
    assert findings[0].fix
