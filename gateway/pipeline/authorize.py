"""Station 2: may this identity use this model with these tools, or call this tool? Identity, model and tool together.

Rules 17-20; fails closed: whatever goes wrong while judging is a denial. A key's own narrowing comes on top.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from typing import NamedTuple

from gateway.core.call import Caller
from gateway.core.condition_context import AttributeValue, PolicyContext
from gateway.core.decision import CallDecision, Decision
from gateway.core.denial import Code, Denial, Refused
from gateway.core.identity import ABSENT, VirtualKey, narrowed
from gateway.core.session import Session
from gateway.pipeline.plane import Plane

MODEL_INVOKE = "model:invoke"
NO_TOOL = "-"


class Granted(NamedTuple):
    """An allowed call: the row that decided, and declared tools to strip because they are denied."""

    rule: str | None
    stripped: frozenset[str] = frozenset()


def authorize_model(
    plane: Plane, caller: Caller, model: str, tools: Mapping[str, str], context: PolicyContext
) -> Granted:
    """`tools` maps canonical names to the client's words. Raises Refused (`model_denied`, `tool_denied`)."""
    if not narrowed(caller.key.models, model):
        raise Refused(_model_denied(plane, caller, model, f"key '{caller.key.name}' is not for this model", None))
    judged = plane.policy.decide_call(caller.subjects, model, tuple(tools), context)
    denied = {name: f"key '{caller.key.name}' is not for it" for name in tools if not narrowed(caller.key.tools, name)}
    denied.update((d.tool, d.decision.reason) for d in judged.denied if d.tool != NO_TOOL)
    if not denied:
        if judged.allowed:
            return Granted(judged.decision.rule)
        raise Refused(_model_denied(plane, caller, model, judged.decision.reason, judged.decision.rule))
    if plane.catalog.strip_denied_tools:
        rest = plane.policy.decide_call(caller.subjects, model, tuple(t for t in tools if t not in denied), context)
        if rest.allowed:
            return Granted(rest.decision.rule, frozenset(tools[name] for name in denied))
    bare = plane.policy.decide_call(caller.subjects, model, (), context)
    if not bare.allowed and not any(narrowed(caller.key.tools, name) and name not in denied for name in tools):
        raise Refused(_model_denied(plane, caller, model, bare.decision.reason, bare.decision.rule))
    raise Refused(_tools_denied(denied, tools, model, judged))


def authorize_tool(plane: Plane, caller: Caller, tool: str, models: Sequence[str], context: PolicyContext) -> Decision:
    """A tool call, judged with every model that may have asked for it; any deny wins (rule 20). Raises Refused."""
    if not narrowed(caller.key.tools, tool):
        raise Refused(_tool_denied(tool, f"key '{caller.key.name}' is not for it", None))
    decision = plane.policy.decide_tool_call(caller.subjects, tuple(models), tool, context)
    if not decision.allowed:
        raise Refused(_tool_denied(tool, decision.reason, decision.rule))
    return decision


def principal_attributes(plane: Plane, caller_key: VirtualKey) -> Mapping[str, AttributeValue]:
    """What conditions see of a key's principals: names and declared attributes, absent ones left out (unknown)."""
    found: dict[str, AttributeValue] = {"key.name": caller_key.name}
    for kind in ("user", "team", "app", "service", "agent"):
        name = getattr(caller_key, kind)
        if name == ABSENT:
            continue
        declared = plane.catalog.directory.get(kind, name)
        found[f"{kind}.name"] = name
        for attribute in ("environment", "cost_center"):
            value = getattr(declared, attribute)
            if value != ABSENT:
                found[f"{kind}.{attribute}"] = value
        if kind == "user":
            found["user.groups"] = declared.groups
        found.update((f"{kind}.labels.{label}", value) for label, value in declared.labels.items())
    return found


def session_attributes(session: Session, now_us: int) -> dict[str, AttributeValue]:
    """What conditions see of a session."""
    return {
        "session.kind": session.mark.kind,
        "session.depth": 0,
        "session.age_s": (now_us - session.opened_at_us) // 1_000_000,
    }


def local_time(now_us: int, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(now_us / 1_000_000, zone)


def usable_models(plane: Plane, caller: Caller, context: PolicyContext) -> list[str]:
    """The aliases this caller may use without tools, in file order."""
    return [
        alias
        for alias in plane.catalog.models
        if narrowed(caller.key.models, alias) and plane.policy.decide_call(caller.subjects, alias, (), context).allowed
    ]


def _model_denied(plane: Plane, caller: Caller, model: str, reason: str, rule: str | None) -> Denial:
    others = tuple(usable_models(plane, caller, PolicyContext(principal=caller.principal))[:5])
    advice = f" You may use: {', '.join(others)}." if others else " Ask your administrator for access."
    return Denial(
        Code.MODEL_DENIED, f"Model '{model}' is not allowed: {reason}.{advice}", rule=rule, alternatives=others
    )


def _tool_denied(tool: str, reason: str, rule: str | None) -> Denial:
    return Denial(Code.TOOL_DENIED, f"Tool '{tool}' is not allowed: {reason}. Go on without it.", rule=rule)


def _tools_denied(denied: Mapping[str, str], tools: Mapping[str, str], model: str, judged: CallDecision) -> Denial:
    name, reason = next(iter(denied.items()))
    more = f" (and {len(denied) - 1} more)" if len(denied) > 1 else ""
    text = f"Tool '{tools[name]}'{more} may not be offered to model '{model}': {reason}. Remove it from the request."
    rule = next((d.decision.rule for d in judged.denied if d.tool == name), None)
    return Denial(Code.TOOL_DENIED, text, rule=rule, field="tools")
