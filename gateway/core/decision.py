"""What the policy says about a call, and why.

Rule: a decision can be shown as it is. Its reason is a sentence for a person or an agent and holds no argument values.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Decision:
    """`rule` names the row that decided, as `policies/10-team.csv:14`; None where no row did. `would_deny` names rows
    that observe and would have denied what is allowed."""

    allowed: bool
    reason: str
    rule: str | None
    policy_version: str
    would_deny: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolDenial:
    """A declared tool (or `-`, a call without tools) that the policy refuses together with the model of the call."""

    tool: str
    decision: Decision


@dataclass(frozen=True, slots=True)
class CallDecision:
    """A model call with all tools that it declares: allowed only if every (model, tool) pair is.

    `decision` is the first denial, or the decision on the first pair. `denied` lists every refused tool, so that a
    caller may strip them instead of refusing the call.
    """

    decision: Decision
    denied: tuple[ToolDenial, ...]
    would_deny: tuple[str, ...] = ()

    @property
    def allowed(self) -> bool:
        return not self.denied

    @staticmethod
    def of(tools: tuple[str, ...], decisions: list[Decision]) -> "CallDecision":
        """`decisions` in the order of `tools`, at least one."""
        pairs = zip(tools, decisions, strict=True)
        denied = tuple(ToolDenial(tool, decision) for tool, decision in pairs if not decision.allowed)
        return CallDecision(denied[0].decision if denied else decisions[0], denied)
