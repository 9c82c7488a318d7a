"""What the policy is asked."""

from dataclasses import dataclass

from gateway.core.condition_context import PolicyContext


@dataclass(frozen=True, slots=True)
class Question:
    """`-` stands for no model or no tool; the tool is a canonical name."""

    subjects: frozenset[str]
    model: str
    tool: str
    action: str
    context: PolicyContext
