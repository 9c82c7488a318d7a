"""Station 2: may this identity use this model with these tools, or call this tool? Identity, model and tool together.

Rules 17-20; fails closed: whatever goes wrong while judging is a denial. A key's own narrowing comes on top.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, tzinfo
from typing import NamedTuple
from urllib.parse import quote

from gateway.core.attribution import Attribution
from gateway.core.call import Caller
from gateway.core.condition_context import AttributeValue, PolicyContext
from gateway.core.decision import CallDecision, Decision
from gateway.core.denial import Code, Denial, Refused
from gateway.core.identity import ABSENT, VirtualKey, narrowed
from gateway.pipeline.plane import Plane
from gateway.pipeline.sessions import LiveSession

MODEL_INVOKE = "model:invoke"
NO_TOOL = "-"
STRIPPED_HEADER_MAX = 2_000
STANDING_KEPT = 256
STANDING_TOOLS_MAX = 256
STANDING_CHARACTERS_MAX = 16_384
_HEADER_SAFE = "-._:/@+~="


class Granted(NamedTuple):
    """An allowed call: the row that decided, declared tools to strip because they are denied, and rows that observe and
    would have denied it."""

    rule: str | None
    stripped: frozenset[str] = frozenset()
    would_deny: tuple[str, ...] = ()

    def stripped_header(self) -> str:
        """The stripped names for a header. They are the client's words, so what a header cannot hold is escaped."""
        names = ", ".join(quote(name, safe=_HEADER_SAFE) for name in sorted(self.stripped))
        return names if len(names) <= STRIPPED_HEADER_MAX else f"{names[:STRIPPED_HEADER_MAX]}..."


def standing_grant(plane: Plane, caller: Caller, model: str, tools: Collection[str]) -> Granted | None:
    """The grant of a call that is allowed whatever its circumstances, looked up once per key, model, tools and policy
    version. None = `authorize_model` must decide, with a context. `tools` by canonical names."""
    at = (plane.policy.version, model, *tools)
    if at in caller.standing:
        judged = caller.standing[at]
    else:
        judged = _standing(plane, caller, model, tuple(tools))
        if len(tools) <= STANDING_TOOLS_MAX and sum(map(len, tools)) <= STANDING_CHARACTERS_MAX:
            if len(caller.standing) >= STANDING_KEPT:
                caller.standing.clear()
            caller.standing[at] = judged
    return None if judged is None else Granted(judged.decision.rule)


def _standing(plane: Plane, caller: Caller, model: str, tools: tuple[str, ...]) -> CallDecision | None:
    if not narrowed(caller.key.models, model) or not all(narrowed(caller.key.tools, name) for name in tools):
        return None
    judged = plane.policy.standing_decision(caller.subjects, model, tools, caller.principal)
    return judged if judged is not None and judged.allowed else None


def authorize_model(
    plane: Plane, caller: Caller, model: str, tools: Mapping[str, Sequence[str]], context: PolicyContext
) -> Granted:
    """`tools` maps canonical names to the client's words for each. Raises Refused (`model_denied`, `tool_denied`)."""
    if not narrowed(caller.key.models, model):
        raise Refused(_model_denied(plane, caller, model, f"key '{caller.key.name}' is not for this model", None))
    judged = plane.policy.decide_call(caller.subjects, model, tuple(tools), context)
    denied = {name: f"key '{caller.key.name}' is not for it" for name in tools if not narrowed(caller.key.tools, name)}
    denied.update((d.tool, d.decision.reason) for d in judged.denied if d.tool != NO_TOOL)
    if not denied:
        if judged.allowed:
            return Granted(judged.decision.rule, would_deny=judged.would_deny)
        raise Refused(_model_denied(plane, caller, model, judged.decision.reason, judged.decision.rule))
    if plane.catalog.strip_denied_tools:
        rest = plane.policy.decide_call(caller.subjects, model, tuple(t for t in tools if t not in denied), context)
        if rest.allowed:
            stripped = frozenset(words for name in denied for words in tools[name])
            return Granted(rest.decision.rule, stripped, rest.would_deny)
    bare = plane.policy.decide_call(caller.subjects, model, (), context)
    if not bare.allowed and not any(narrowed(caller.key.tools, name) and name not in denied for name in tools):
        raise Refused(_model_denied(plane, caller, model, bare.decision.reason, bare.decision.rule))
    raise Refused(_tools_denied(denied, tools, model, judged))


def authorize_tool(plane: Plane, caller: Caller, tool: str, models: Sequence[str], context: PolicyContext) -> Decision:
    """A tool call, judged with every model that may have asked for it; any deny wins (rule 20). Raises Refused."""
    if not narrowed(caller.key.tools, tool):
        raise Refused(_tool_denied(tool, f"key '{caller.key.name}' is not for it", None))
    decisions = [
        plane.policy.decide_tool_call(caller.subjects, judged, tool, seen)
        for judged, seen in _with_each(plane, models, context)
    ]
    denied = next((decision for decision in decisions if not decision.allowed), None)
    if denied is not None:
        raise Refused(_tool_denied(tool, denied.reason, denied.rule))
    seen_by = tuple(dict.fromkeys(rule for decision in decisions for rule in decision.would_deny))
    return replace(decisions[-1], would_deny=seen_by) if seen_by else decisions[-1]


def lists_tool(plane: Plane, caller: Caller, tool: str, models: Sequence[str], context: PolicyContext) -> bool:
    """Whether a caller may see a tool, judged like a call whose arguments are not known yet (rule 21)."""
    return narrowed(caller.key.tools, tool) and all(
        plane.policy.lists_tool(caller.subjects, judged, tool, seen).allowed
        for judged, seen in _with_each(plane, models, context)
    )


def _with_each(
    plane: Plane, models: Sequence[str], context: PolicyContext
) -> Iterator[tuple[tuple[str, ...], PolicyContext]]:
    """A context for each model that a tool is judged with; without any model there is one, and nothing known of it."""
    if not models:
        yield (), context
    for alias in models:
        model = plane.catalog.models.get(alias)
        if model is None:
            yield (alias,), context
        else:
            known = {"model.tier": model.tier, "model.provider": model.deployments[0].provider}
            yield (alias,), replace(context, call={**context.call, **known})


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


def session_attributes(plane: Plane, live: LiveSession, now_us: int) -> dict[str, AttributeValue]:
    """What conditions see of a session; of its parent only where it has one, else it is unknown."""
    session = live.session
    found: dict[str, AttributeValue] = {
        "session.kind": session.mark.kind,
        "session.depth": session.depth,
        "session.age_s": (now_us - session.opened_at_us) // 1_000_000,
    }
    if live.above:
        parent = live.above[0].session
        found["session.parent"] = parent.id
        found["session.parent_kind"] = parent.mark.kind
        opener = plane.keys.get(parent.key_id)
        if opener is not None:
            named = (("key", opener.name), ("user", opener.user), ("team", opener.team), ("agent", opener.agent))
            found.update((f"session.parent_{kind}", name) for kind, name in named if name != ABSENT)
    return found


def local_time(now_us: int, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(now_us / 1_000_000, zone)


def standing_context(plane: Plane, caller: Caller) -> PolicyContext:
    """What conditions see of a caller outside any call: who it is and what time it is."""
    return PolicyContext(principal=caller.principal, local_time=local_time(plane.clock.now_us(), plane.policy_zone))


async def used_ratios(
    plane: Plane, attribution: Attribution, live: LiveSession | None, now_us: int
) -> Callable[[str], float | None]:
    """What conditions see of the limits that bind a call: spent and held over the limit, before its own hold (rule 21).
    Without a session those of single sessions are unknown. Raises BooksUnavailable."""
    session_id, lineage, fresh = ("", (), False) if live is None else (live.id, live.lineage, not live.written)
    every = plane.limiter.bindings(attribution, session_id, lineage)
    bindings = every if live is not None else tuple(b for b in every if not b.limit.per_session)
    await plane.limiter.load(bindings, session_id, now_us, fresh_session=fresh)

    def used_ratio(name: str) -> float | None:
        views = plane.limiter.view(tuple(b for b in bindings if b.limit.name == name), now_us)
        return next(((v.spent + v.held) / v.limit for v in views if v.limit), None)

    return used_ratio


def usable_models(plane: Plane, caller: Caller, context: PolicyContext) -> list[str]:
    """The aliases this caller may use without tools, in file order."""
    return [
        alias
        for alias in plane.catalog.models
        if narrowed(caller.key.models, alias) and plane.policy.decide_call(caller.subjects, alias, (), context).allowed
    ]


def _model_denied(plane: Plane, caller: Caller, model: str, reason: str, rule: str | None) -> Denial:
    others = tuple(usable_models(plane, caller, standing_context(plane, caller))[:5])
    advice = f" You may use: {', '.join(others)}." if others else " Ask your administrator for access."
    return Denial(
        Code.MODEL_DENIED, f"Model '{model}' is not allowed: {reason}.{advice}", rule=rule, alternatives=others
    )


def _tool_denied(tool: str, reason: str, rule: str | None) -> Denial:
    return Denial(Code.TOOL_DENIED, f"Tool '{tool}' is not allowed: {reason}. Go on without it.", rule=rule)


def _tools_denied(
    denied: Mapping[str, str], tools: Mapping[str, Sequence[str]], model: str, judged: CallDecision
) -> Denial:
    name, reason = next(iter(denied.items()))
    more = f" (and {len(denied) - 1} more)" if len(denied) > 1 else ""
    text = f"Tool '{tools[name][0]}'{more} may not be offered to model '{model}': {reason}. Remove it from the request."
    rule = next((d.decision.rule for d in judged.denied if d.tool == name), None)
    return Denial(Code.TOOL_DENIED, text, rule=rule, field="tools")
