"""Usage, journal and policy questions in the shapes that people read."""

import pytest

from gateway.core.report import AuditSearch
from gateway.management.policies import Question, question_context
from gateway.management.refused import ManagementRefused
from gateway.management.reporting import audit, usage, verify
from tests.management.opening import ALICE, BOB, Opened


async def test_usage_groups_by_what_is_asked_for_dearest_first(node: Opened) -> None:
    await node.chat(BOB)
    for _ in range(3):
        await node.chat(ALICE)
    by_user = await usage(node.reports, ("user",), None, None)
    assert [(row["user"], row["calls"]) for row in by_user] == [("alice", 3), ("bob", 1)]
    by_more = await usage(node.reports, ("team", "model"), None, None)
    assert {(row["team"], row["model"]) for row in by_more} == {("platform", "small"), ("-", "small")}
    assert sum(row["cost_usd"] for row in by_user) == pytest.approx(sum(row["cost_usd"] for row in by_more))
    tokens = sum(row["input_tokens"] + 2 * row["output_tokens"] for row in by_user)
    assert sum(round(row["cost_usd"] * 1_000_000) for row in by_user) == tokens


@pytest.mark.parametrize("by", [(), ("users",), ("user", "prompt")])
async def test_what_nothing_can_be_grouped_by_is_refused(node: Opened, by: tuple[str, ...]) -> None:
    with pytest.raises(ManagementRefused, match="group by"):
        await usage(node.reports, by, None, None)


async def test_the_journal_verifies_and_is_searched(node: Opened) -> None:
    reply = await node.chat(ALICE)
    call = reply.headers["x-comptroller-call"]
    rows = await audit(node.reports, AuditSearch(call_id=call))
    assert [row["kind"] for row in rows] == ["settled", "held"]
    found = await verify(node.reports)
    assert (found["ok"], found["faults"], found["drift"]) == (True, [], [])
    assert found["rows"] >= 3


@pytest.mark.parametrize(
    ("subjects", "tool", "allowed"),
    [
        (("agent:reviewer",), "files__delete", False),
        (("agent:other",), "files__delete", True),
        (("user:alice", "team:platform"), "files__delete", True),
        (("agent:other",), "web__get", False),
    ],
)
async def test_a_question_brings_the_declared_attributes_along(
    node: Opened, subjects: tuple[str, ...], tool: str, allowed: bool
) -> None:
    found = await node.application.face.control.policy_explain(Question(subjects, "-", tool, "tool:call"))
    assert found["allowed"] is allowed
    assert any("Casbin says" in line for line in found["lines"])


async def test_the_model_of_a_question_brings_its_own(node: Opened) -> None:
    context = question_context(node.plane, Question(("key:alice",), "large", "files__read", "model:invoke"))
    assert context.call["model.tier"] == "premium"
    assert context.call["tool.server"] == "files"
    assert dict(context.principal) == {"key.name": "alice"}


@pytest.mark.parametrize("subject", ["alice", "user:", ":alice", "group:alice"])
async def test_what_is_no_subject_is_refused(node: Opened, subject: str) -> None:
    with pytest.raises(ManagementRefused, match="no subject"):
        question_context(node.plane, Question((subject,), "-", "-", "model:invoke"))
