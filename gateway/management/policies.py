"""What a person asks the policy, with the attributes that a call of those subjects would bring as far as is known."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.core.condition_context import AttributeValue, PolicyContext
from gateway.core.identity import ABSENT, VirtualKey
from gateway.management.refused import ManagementRefused
from gateway.pipeline.authorize import local_time, principal_attributes
from gateway.pipeline.plane import Plane

PRINCIPALS = ("user", "team", "app", "service", "agent", "key")
NONE = "-"


@dataclass(frozen=True, slots=True)
class Question:
    """Who asks for what: `subjects` as `kind:name`, roles too; the tool by its canonical name, `-` is none."""

    subjects: tuple[str, ...]
    model: str
    tool: str
    action: str
    arguments: Mapping[str, object] | None = None


def question_context(plane: Plane, question: Question) -> PolicyContext:
    """Attributes of a session or of the single call are unknown, as there is none. Raises ManagementRefused."""
    named: dict[str, Any] = {}
    for subject in question.subjects:
        kind, separator, name = subject.partition(":")
        if not separator or not name or kind not in (*PRINCIPALS, "role"):
            kinds = ", ".join((*PRINCIPALS, "role"))
            raise ManagementRefused(f"'{subject[:80]}' is no subject: write it like user:alice; kinds are {kinds}")
        named.setdefault(kind, name)
    stand_in = VirtualKey("", named.pop("key", ""), "", **{kind: named.get(kind, ABSENT) for kind in PRINCIPALS[:-1]})
    principal = {name: value for name, value in principal_attributes(plane, stand_in).items() if value != ""}
    now = local_time(plane.clock.now_us(), plane.policy_zone)
    return PolicyContext(principal, _call_attributes(plane, question), now, question.arguments)


def _call_attributes(plane: Plane, question: Question) -> Mapping[str, AttributeValue]:
    found: dict[str, AttributeValue] = {}
    if question.tool != NONE:
        found |= {"tool.name": question.tool, "tool.server": question.tool.partition("__")[0]}
    model = plane.catalog.models.get(question.model)
    if model is not None:
        provider = model.deployments[0].provider
        found |= {"model.name": model.alias, "model.tier": model.tier, "model.provider": provider}
    return found
