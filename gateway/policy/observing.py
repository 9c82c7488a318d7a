"""Which rows that only observe would have denied an allowed call. Nothing here can refuse: what fails is no row."""

from collections.abc import Mapping
from typing import Protocol

from gateway.core.condition_context import AttributeValue, PolicyContext
from gateway.core.decision import CallDecision, Decision
from gateway.policy.rows import TOOL_CALL


class Decider(Protocol):
    def decide(
        self, subjects: frozenset[str], model: str, tool: str, action: str, context: PolicyContext
    ) -> Decision: ...

    def decide_call(
        self, subjects: frozenset[str], model: str, tools: tuple[str, ...], context: PolicyContext
    ) -> CallDecision: ...

    def standing_decision(
        self, subjects: frozenset[str], model: str, tools: tuple[str, ...], principal: Mapping[str, AttributeValue]
    ) -> CallDecision | None: ...

    def roles_of(self, subjects: frozenset[str]) -> frozenset[str]: ...


def observed_call(
    observer: Decider, subjects: frozenset[str], model: str, tools: tuple[str, ...], context: PolicyContext
) -> tuple[str, ...]:
    """The places of rows that would have denied a model call, one for each tool at most."""
    try:
        judged = observer.decide_call(subjects, model, tools, context)
    except Exception:  # noqa: BLE001 - an observation must not fail a call
        return ()
    return _rules([each.decision for each in judged.denied])


def observed_tool_call(
    observer: Decider, subjects: frozenset[str], models: tuple[str, ...], tool: str, context: PolicyContext
) -> tuple[str, ...]:
    """The same for a tool call, one for each model at most."""
    try:
        return _rules([observer.decide(subjects, model, tool, TOOL_CALL, context) for model in models])
    except Exception:  # noqa: BLE001 - as above
        return ()


def _rules(decisions: list[Decision]) -> tuple[str, ...]:
    """What no row denies is denied for want of an allow row, and that is no observation."""
    return tuple(dict.fromkeys(decision.rule for decision in decisions if decision.rule is not None))
