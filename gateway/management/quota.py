"""What an agent may know about its own budgets: answers of the governance tools, as plain JSON objects.

Rules: only what belongs to the asking key; free of charge, no policy row needed, also while paused or exhausted
(rule 15); the figures are those that the next call would be judged by. Nothing is held.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.core.attribution import Attribution, attribute
from gateway.core.budget import Ask, Shortfall, amount_of, only_waiting, refusal
from gateway.core.call import Caller
from gateway.core.catalog import Model
from gateway.core.denial import Code, Denial, Refused
from gateway.core.estimate import counted_bound, token_factor
from gateway.core.hold import Binding, CounterView
from gateway.core.identity import ABSENT
from gateway.core.ledger import Amounts
from gateway.core.limit import Action, Unit
from gateway.core.money import format_usd
from gateway.core.report import CallRow
from gateway.core.session import CHILD, MarkRefused, SessionState, mark_of
from gateway.core.sizing import money_for
from gateway.core.stop import stop_denial, stop_of
from gateway.core.tool_name import SEPARATOR
from gateway.pipeline.answer import view_object
from gateway.pipeline.authorize import authorize_tool, standing_context, usable_models
from gateway.pipeline.child_session import session_of
from gateway.pipeline.plane import Plane
from gateway.pipeline.sessions import LiveSession
from gateway.pipeline.tool_call import tool_context, tool_session
from gateway.ports import Reports

NO_SESSION = ""
NEW_SESSION = "session:new"
_STANDARD: Final = frozenset[str]()
_ASK = "ask an administrator for access"
_NEXT: Final[Mapping[str, str]] = {
    Code.MODEL_DENIED: f"Use a model of models_list, or {_ASK}.",
    Code.MODEL_UNKNOWN: "Use a model of models_list.",
    Code.TOOL_DENIED: f"Go on without the tool, or {_ASK}.",
    Code.BUDGET_EXHAUSTED: "Waiting helps only once the limit resets; ask for more with quota_request.",
    Code.SESSION_BUDGET_EXHAUSTED: "This session is used up: ask for more with quota_request, finish, or begin anew.",
    Code.SESSION_EXPIRED: "Go on in a new session.",
    Code.LOOP_DETECTED: "Change the approach; a person must resume the session.",
    Code.SESSION_PAUSED: "A person must resume the session.",
    Code.SESSION_STOPPED: "Make no calls in this session.",
    Code.AGENT_STOPPED: "A person must resume it; no session helps.",
}


async def status(plane: Plane, caller: Caller, headers: Mapping[str, str], session: str | None) -> dict[str, Any]:
    """Of one session, or of all open ones of this key: state, every limit, and which binds first."""
    shared = await _views(plane, caller, None)
    found = await chosen_sessions(plane, caller, headers, session)
    sessions = []
    everything = list(shared)
    for live in found:
        scopes = _scopes_shown(caller, live)
        views = [v for v in await _views(plane, caller, live) if v.scope in scopes]
        everything += views
        sessions.append(
            {
                "session": live.id,
                "state": live.session.state.value,
                "parent": live.session.parent_id,
                "depth": live.session.depth,
                "limits": [view_object(v) for v in views],
            }
        )
    goes_on = any(live.session.state is SessionState.OPEN for live in found)
    first = _tightest([view for view in everything if not (goes_on and view.unit == Unit.SESSIONS)])
    return {
        "summary": _status_words(first, found) + _stop_words(plane, caller),
        "binds_first": None if first is None else view_object(first),
        "limits": [view_object(v) for v in shared],
        "sessions": sessions,
    }


async def limits(plane: Plane, caller: Caller, headers: Mapping[str, str], session: str | None) -> dict[str, Any]:
    """Every limit that applies, with its window, scope, action and figures, in file order; limits of keys block."""
    found = await chosen_sessions(plane, caller, headers, session)
    views = await _views(plane, caller, found[0] if found else None)
    if found:
        scopes = _scopes_shown(caller, found[0])
        views = [view for view in views if not view.scope.startswith("session:") or view.scope in scopes]
    else:
        bindings = plane.limiter.bindings(_bare(plane, caller), NO_SESSION, ())
        views += [_unused(binding) for binding in bindings if binding.limit.per_session]
    order = {limit.name: place for place, limit in enumerate(plane.catalog.limits)}
    actions = {limit.name: limit.action.value for limit in plane.catalog.limits}
    listed = [
        {**view_object(view), "action": actions.get(view.name, Action.BLOCK.value)}
        for view in sorted(views, key=lambda view: order.get(view.name, len(order)))
    ]
    return {"summary": f"{len(listed)} limits apply to key '{caller.key_name}'.", "limits": listed}


async def models(plane: Plane, caller: Caller) -> dict[str, Any]:
    """The models that this key may use now, with prices where they are known, in USD per million tokens."""
    listed = []
    for name in usable_models(plane, caller, standing_context(plane, caller)):
        model = plane.catalog.models[name]
        priced = plane.prices.rates_for(name, model.deployments[0], plane.clock.now_us())
        entry: dict[str, Any] = {"name": name}
        if model.tier != ABSENT:
            entry["tier"] = model.tier
        if priced is not None:
            usual = priced.rates.standard.usual
            entry["input_usd_per_mtok"] = usual.input_picos / 1e6
            entry["output_usd_per_mtok"] = usual.output_picos / 1e6
        listed.append(entry)
    names = ", ".join(entry["name"] for entry in listed) or "none"
    return {"summary": f"Models you may use: {names}.", "models": listed}


async def estimate(
    plane: Plane, caller: Caller, headers: Mapping[str, str], arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """What a model call or a tool call would hold at most, and whether it would be let in now."""
    session = arguments.get("session")
    found = await chosen_sessions(plane, caller, headers, session)
    live = found[0] if found else None
    tool = arguments.get("tool")
    if isinstance(tool, str):
        return await _tool_estimate(plane, caller, live, tool, arguments.get("arguments"))
    alias = arguments.get("model")
    model = plane.catalog.models.get(alias) if isinstance(alias, str) else None
    allowed = usable_models(plane, caller, standing_context(plane, caller))
    if model is None or model.alias not in allowed:
        names = ", ".join(allowed) or "none"
        return {"summary": f"That model is not one you may use. You may use: {names}.", "would_allow": False}
    input_tokens = await _input_tokens(plane, model.token_factor or token_factor(model.alias), arguments)
    output_tokens = _count(arguments, "output_tokens", plane.catalog.estimates.min_useful_output)
    now_us = plane.clock.now_us()
    priced = [plane.prices.rates_for(model.alias, deployment, now_us) for deployment in model.deployments]
    known = [rates for rates in priced if rates is not None]
    if len(known) < len(priced):
        return {"summary": f"Model '{model.alias}' has no price here.", "would_allow": False}
    money = max(rates.prompt_bound(input_tokens, _STANDARD) for rates in known)
    money += money_for(output_tokens, max(rates.output_picos(input_tokens, _STANDARD) for rates in known))
    amounts = Amounts(input_tokens, output_tokens, 0, money, requests=1)
    attribution = _with_model(plane, caller, model)
    return await _judged(plane, attribution, live, amounts, money)


async def explain(plane: Plane, reports: Reports, caller: Caller, call_id: str) -> dict[str, Any]:
    """Why a call of this key was refused, with the figures of that moment; of no other key."""
    late = plane.refusals.unwritten(caller.key_id, call_id)
    if late is not None:
        return await _explained(plane, call_id, late.session_id or "", late.machine())
    row = await reports.call(call_id)
    if row is None or not await _is_own(plane, caller, row):
        return {"summary": f"No call {call_id[:64]} of this key is known."}
    if row.denial is None:
        return {"summary": f"Call {call_id} was not refused: it is {row.state}."}
    return await _explained(plane, call_id, row.session_id, row.denial, cut=row.state is not None)


async def _explained(
    plane: Plane, call_id: str, session_id: str, denial: Mapping[str, Any], *, cut: bool = False
) -> dict[str, Any]:
    limit, loop = denial.get("limit"), denial.get("loop")
    words = f"Call {call_id} was {'ended while it ran' if cut else 'refused'}: {denial.get('code')}."
    if isinstance(limit, Mapping):
        words += (
            f" Limit '{limit['name']}' for {limit['scope']} had {limit['spent']} spent and {limit['held']} held of "
            f"{limit['limit']} {limit['unit']}, {limit['remaining']} remained and at least {limit['asked']} were asked."
        )
        words += f" It resets at {limit['resets_at']}." if limit.get("resets_at") else ""
    elif isinstance(loop, Mapping):
        words += _loop_words(loop)
    elif denial.get("rule"):
        words += f" Rule {denial['rule']} decided."
    elif denial.get("code") in (Code.MODEL_DENIED, Code.TOOL_DENIED):
        words += " No rule of the policy, or not this key, allows it; what nothing allows is denied."
    elif denial.get("code") in (Code.SESSION_PAUSED, Code.SESSION_STOPPED):
        session = await plane.books.session(session_id)
        words += "" if session is None or not session.reason else f" Why the session is held: {session.reason}"
    wait_s = denial.get("retry_after_s")
    step = f"Retry after {wait_s:.1f} s." if wait_s is not None else _NEXT.get(str(denial.get("code")), "")
    words += f" {step}" if step else ""
    return {"summary": words, "comptroller": dict(denial)}


def _loop_words(loop: Mapping[str, Any]) -> str:
    detector = str(loop.get("detector", "")).replace("_", " ")
    period = f" of {loop['period']} steps" if loop.get("period") else ""
    words = f" Loop detection: {detector}{period}, {loop.get('count')} times; the action `{loop.get('action')}`"
    words += f" is taken at {loop.get('acts_at')}."
    if "spent_usd" in loop:
        words += (
            f" The agent spent {loop['spent_usd']} USD in this quarter of an hour; in {loop['quarters']} earlier ones "
            f"{loop['usual_usd']} was usual and nine in ten stayed below {loop['high_usd']}."
        )
    return words


async def _is_own(plane: Plane, caller: Caller, row: CallRow) -> bool:
    """By the id of the key that its session belongs to: a name can be that of a revoked key as well. In a child session
    other keys may call, too."""
    session = await plane.books.session(row.session_id) if row.session_id else None
    if session is not None and not session.ancestors:
        return session.key_id == caller.key_id
    named = [key for key in plane.keys.all() if key.name == row.group.get("key")]
    return [key.id for key in named] == [caller.key_id]


async def _tool_estimate(
    plane: Plane, caller: Caller, live: LiveSession | None, tool: str, arguments: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Judged as the call would be, with its server's price; a name that could mean several tools means all of them."""
    answer: dict[str, Any] = {}
    for name in plane.canonical(tool):
        if name in plane.own_tools:
            return {"summary": f"`{tool[:128]}` is always allowed and free.", "would_allow": True, "cost_usd": 0.0}
        attribution = attribute(caller.key, plane.catalog.directory, tool=name, roles=caller.roles)
        context = await tool_context(plane, caller, live, attribution, arguments)
        try:
            authorize_tool(plane, caller, name, tuple(live.models) if live is not None else (), context)
        except Refused as refused:
            return {"summary": refused.denial.message, "would_allow": False}
        money = plane.catalog.tool_prices.get(name.partition(SEPARATOR)[0], 0)
        amounts = Amounts(usd_micros=money, requests=1, tool_calls=1)
        answer = await _judged(plane, attribution, live, amounts, money)
        if not answer["would_allow"]:
            break
    return answer


async def _judged(
    plane: Plane, attribution: Attribution, live: LiveSession | None, amounts: Amounts, money: int | None
) -> dict[str, Any]:
    session_id = live.id if live is not None else NO_SESSION
    now_us = plane.clock.now_us()
    every = plane.limiter.bindings(attribution, session_id, live.lineage if live is not None else ())
    ask = Ask(amounts, concurrent=1)
    # Without a session the limits of one are judged as for a new one, and no counter is made for it.
    bindings = tuple(b for b in every if live is not None or not b.limit.per_session)
    await plane.limiter.load(bindings, session_id, now_us, fresh_session=False)
    short = tuple(s for s in plane.limiter.shortfalls(bindings, ask, now_us) if s.limit.hard)
    short += tuple(s for b in every if b not in bindings if (s := _too_large(b, ask)) is not None and b.limit.hard)
    paused = live is not None and live.session.state.value in ("paused", "stopped")
    answer: dict[str, Any] = {
        "would_allow": not short and not paused,
        "input_tokens": amounts.input_tokens or None,
        "output_tokens": amounts.output_tokens or None,
        "cost_usd": None if money is None else money / 1e6,
        "binding_limit": None,
    }
    if short:
        denial = refusal(short, now_us, plane.pace.remaining_s())
        named = denial.limit
        views = [*plane.limiter.view(bindings, now_us), *(_unused(b) for b in every if b not in bindings)]
        view = next((v for v in views if named is not None and v.name == named.name), None)
        answer["binding_limit"] = None if view is None else view_object(view)
        wait = " It would fit once calls in flight have ended." if only_waiting(short) else ""
        return {"summary": denial.message + wait, **answer}
    if paused and live is not None:
        return {"summary": f"The session is {live.session.state.value}; no call of it is let in.", **answer}
    cost = "" if money is None else f" and costs at most {format_usd(money)} USD"
    return {"summary": f"This call would be let in{cost}.", **answer}


def _too_large(binding: Binding, ask: Ask) -> Shortfall | None:
    """What a call asks too much of a counter that nobody has used."""
    asked = amount_of(binding.limit.unit, ask)
    if asked <= binding.amount:
        return None
    return Shortfall(binding.limit, NEW_SESSION, binding.amount, 0, 0, asked, None)


def _unused(binding: Binding) -> CounterView:
    limit = binding.limit
    return CounterView(limit.name, NEW_SESSION, limit.unit.value, binding.amount, 0, 0, limit.window.text, None)


def attributions(plane: Plane, caller: Caller) -> list[Attribution]:
    """Calls of this key without a model, and with each that it may use now."""
    models = [plane.catalog.models[name] for name in usable_models(plane, caller, standing_context(plane, caller))]
    return [_bare(plane, caller), *(_with_model(plane, caller, model) for model in models)]


def _bare(plane: Plane, caller: Caller) -> Attribution:
    return attribute(caller.key, plane.catalog.directory, roles=caller.roles)


def _with_model(plane: Plane, caller: Caller, model: Model) -> Attribution:
    return attribute(
        caller.key,
        plane.catalog.directory,
        model=model.alias,
        model_tier=model.tier,
        provider=model.deployments[0].provider,
        roles=caller.roles,
    )


async def _input_tokens(plane: Plane, factor: float, arguments: Mapping[str, Any]) -> int:
    messages = arguments.get("messages")
    if not isinstance(messages, list):
        return _count(arguments, "input_tokens", 0)
    texts = [str(value) for m in messages if isinstance(m, Mapping) for value in m.values() if value is not None]
    return counted_bound(await plane.tokens.count(texts), factor, len(messages), 0)


def _count(arguments: Mapping[str, Any], name: str, otherwise: int) -> int:
    value = arguments.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else otherwise


async def _views(plane: Plane, caller: Caller, live: LiveSession | None) -> list[CounterView]:
    """The counters of this key's calls as they stand, for every model it may use; limits of a session only with one."""
    session_id, lineage = (NO_SESSION, ()) if live is None else (live.id, live.lineage)
    found: dict[tuple[str, str], CounterView] = {}
    now_us = plane.clock.now_us()
    for attribution in attributions(plane, caller):
        every = plane.limiter.bindings(attribution, session_id, lineage)
        bindings = tuple(b for b in every if session_id or not b.limit.per_session)
        await plane.limiter.load(bindings, session_id, now_us, fresh_session=False)
        for view in plane.limiter.view(bindings, now_us):
            found.setdefault((view.name, view.scope), view)
    return list(found.values())


def _scopes_shown(caller: Caller, live: LiveSession) -> set[str]:
    """A child is bound by what its ancestors have left; of those that another key runs, no figures are told."""
    own = (each for each in live.above if each.session.key_id == caller.key_id)
    return {f"session:{each.id}" for each in (live, *own)}


async def chosen_sessions(
    plane: Plane, caller: Caller, headers: Mapping[str, str], session: str | None
) -> list[LiveSession]:
    """The named session; else all of this key that are in use, the one that the request names or implies first.
    Raises Refused."""
    if session:
        return [await own_session(plane, caller, headers, session)]
    live = plane.sessions.active(caller.key_id, plane.catalog.sessions, plane.clock.now_us())
    try:
        own = await tool_session(plane, caller, headers, None)
    except Refused as refused:
        if refused.denial.code is Code.REQUEST_MALFORMED:
            raise
        return live
    if not own.written and not own.in_flight:
        plane.sessions.drop(own)
        return live
    return [own, *(each for each in live if each.id != own.id)]


async def own_session(plane: Plane, caller: Caller, headers: Mapping[str, str], session: str) -> LiveSession:
    """By our id or by the client's own. Never another key's, but for what is below one's own, and for the child that
    the request itself was let into; who came in with a child's token sees nothing above or beside it."""
    let_in = await _let_in(plane, caller, headers)
    by_client = (live for live in plane.sessions.of_key(caller.key_id) if live.session.mark.client_id == session)
    live = next(by_client, None) or await plane.sessions.by_id(session)
    if live is not None:
        lineage = (live, *live.above)
        if let_in in lineage or (let_in is None and any(each.session.key_id == caller.key_id for each in lineage)):
            return live
    raise Refused(Denial(Code.ROUTE_UNKNOWN, f"No session '{session[:64]}' of this key is known."))


async def _let_in(plane: Plane, caller: Caller, headers: Mapping[str, str]) -> LiveSession | None:
    """The child whose token came with this request."""
    try:
        mark = mark_of(headers, {})
    except MarkRefused as error:
        raise Refused(Denial(Code.REQUEST_MALFORMED, f"The session id is refused: {error}.")) from error
    return await session_of(plane, caller, mark) if mark.kind == CHILD else None


def _stop_words(plane: Plane, caller: Caller) -> str:
    stop = stop_of(caller.key, plane.stops)
    return "" if stop is None else f" {stop_denial(stop, caller.key).message}"


def _tightest(views: Sequence[CounterView]) -> CounterView | None:
    return min((v for v in views if v.limit), key=lambda v: v.remaining / v.limit, default=None)


def _status_words(first: CounterView | None, sessions: Sequence[LiveSession]) -> str:
    held = [live for live in sessions if live.session.state.value in ("paused", "stopped")]
    state = f" Session {held[0].id} is {held[0].session.state.value}." if held else ""
    if first is None:
        return f"No limit binds you.{state}"
    shown = view_object(first)
    unit = "USD" if first.unit == "usd" else first.unit.replace("_", " ")
    reset = f", resets at {shown['resets_at']}" if shown["resets_at"] else ""
    return f"'{first.name}' binds first: {shown['remaining']} of {shown['limit']} {unit} remain{reset}.{state}"
