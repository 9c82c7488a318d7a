"""Station 3: the upper bound of a call is held on every limit that binds it, all or none, and made durable.

Rules 2, 4, 9, 29, 30: a tighter and dearer estimate is only made where the loose one does not let the call pass; a call
whose room is held by others waits a moment; nothing has left for the upstream before the hold is written.
"""

from dataclasses import dataclass
from typing import Final

from gateway.core.attribution import Attribution
from gateway.core.budget import Ask, Shortfall, only_waiting, refusal, slowed_down
from gateway.core.catalog import OUTPUT_TOKENS_ASSUMED, PricedRates
from gateway.core.denial import Code, Denial, Refused
from gateway.core.estimate import counted_bound, delta_bound, token_factor
from gateway.core.hold import Binding, Hold
from gateway.core.idempotency import KeyUsed
from gateway.core.ledger import Amounts, CallVoided, Entry, HoldPlaced, SessionChanged
from gateway.core.limit import METERED_UNITS, Action
from gateway.core.media import NO_MEDIA
from gateway.core.model_ask import CACHED, FREE, ModelAsk
from gateway.core.pricing import flat_rates
from gateway.core.sizing import OutputAsk, Size, least_tokens, money_for, size_output
from gateway.core.throttling import DELAY_MAX_US
from gateway.core.upstream_health import Standing
from gateway.pipeline.authorize import Granted
from gateway.pipeline.capacity import Turn
from gateway.pipeline.observed import observed, would_deny
from gateway.pipeline.plane import Plane
from gateway.pipeline.reroute import Reroute
from gateway.pipeline.sessions import LiveSession, put_back
from gateway.pipeline.throttle import throttle
from gateway.ports import BooksUnavailable

WAITS_S = 2.0
FREE_RATES: Final = {why: PricedRates(flat_rates(0, 0, source=why)) for why in (FREE, CACHED)}
"""Of calls that no provider bills."""


class BudgetRefused(Refused):
    """Refused by a limit; `pauses` = its action is to pause the session."""

    def __init__(self, denial: Denial, *, pauses: bool) -> None:
        super().__init__(denial)
        self.pauses = pauses


@dataclass(slots=True)
class Reserved:
    """A held call. `rates` has one entry per deployment, in their order; `prompt_tokens` is the bound that was held.

    `turn` is its turn at a provider whose capacity is shared out, `standing` the deployment that it is counted as in
    flight at; settlement and void give both back. `usd_micros` and `reported`
    (it ended well, by the provider's own figures) are told by the settlement."""

    call_id: str
    at_us: int
    hold: Hold
    size: Size
    prompt_tokens: int
    output_pico_usd: int
    rates: tuple[PricedRates, ...]
    attribution: Attribution
    turn: Turn | None = None
    standing: Standing | None = None
    usd_micros: int = 0
    reported: bool = False

    def go_to(self, standing: Standing) -> None:
        self.standing = standing
        standing.in_flight += 1

    def come_back(self) -> None:
        """It is in flight nowhere any more; harmless when repeated."""
        if self.standing is not None:
            self.standing.in_flight -= 1
            self.standing = None

    def in_line(self) -> bool:
        """Whether it waits for its turn between two attempts: nobody works for the call then."""
        return self.turn is not None and self.turn.in_line

    def leave_turn(self, tokens_used: int | None) -> int:
        """Gives the turn back, if it still has one; how long it waited for turns, in microseconds."""
        self.come_back()
        if self.turn is None:
            return 0
        self.turn.leave(tokens_used)
        return self.turn.waited_us


async def reserve_model(
    plane: Plane,
    live: LiveSession,
    ask: ModelAsk,
    attribution: Attribution,
    call_id: str,
    granted: Granted,
    turn: Turn | None = None,
    *,
    routed_from: str = "",
) -> Reserved:
    """Raises Refused, or Reroute where a limit says so; after that nothing is held."""
    rates = _rates(plane, ask)
    try:
        bindings = plane.limiter.bindings(attribution, live.id, live.lineage)
        _refuse_uncounted(ask, bindings)
        reserved = await _hold(plane, live, ask, attribution, bindings, rates, call_id, turn=turn)
    except BooksUnavailable as error:
        raise Refused(books_unavailable()) from error
    reserved.hold.would_deny = would_deny(reserved.hold, granted.would_deny)
    await _write_down(plane, live, ask, reserved, granted.rule, routed_from)
    return reserved


async def refuse_what_no_wait_cures(plane: Plane, live: LiveSession, ask: ModelAsk, attribution: Attribution) -> None:
    """Raises the final refusal that the limits would give now: it comes before any wait (rule 30). Holds nothing."""
    rates = _rates(plane, ask)
    bindings = plane.limiter.bindings(attribution, live.id, live.lineage)
    _refuse_uncounted(ask, bindings)
    now_us = plane.clock.now_us()
    await plane.limiter.load(bindings, live.id, now_us, fresh_session=not live.written)

    def short_of(prompt_tokens: int) -> tuple[Shortfall, ...]:
        sizing = _output_ask(plane, live, ask, rates, prompt_tokens)
        least = _ask(live, sizing, least_tokens(sizing))
        return tuple(s for s in plane.limiter.shortfalls(bindings, least, now_us) if s.limit.hard)

    short = short_of(_first_bound(ask))
    if any(s.limit.unit in METERED_UNITS for s in short):
        short = short_of(min(_first_bound(ask), await counted_prompt(plane, ask)))
    if short:
        refused = _refused(plane, short, now_us)
        if (refused.first if isinstance(refused, Reroute) else refused.denial).final:
            raise refused


def slowed(plane: Plane, slowing: tuple[Shortfall, ...], waited_us: int, now_us: int) -> tuple[int, Denial]:
    """How many microseconds limits that throttle make a call wait now, before anything is held, and the denial for a
    wait that is too long. Raises Refused where it is, together with what the call `waited_us`."""
    wait_us = plane.limiter.pace(slowing, now_us)
    over_us = waited_us + wait_us - DELAY_MAX_US
    denial = slowed_down(slowing, max(1.0, over_us / 1e6))
    if over_us > 0:
        raise Refused(denial)
    return wait_us, denial


async def commit_hold(plane: Plane, live: LiveSession, hold: Hold, placed: HoldPlaced) -> None:
    """Makes a hold durable, with the opening of its session; gives it back and refuses if it cannot be written."""
    entries: list[Entry | KeyUsed] = []
    if (used := plane.replays.claims.pop(hold.call_id, None)) is not None:
        entries.append(used)
    opening = live.take_pending()
    for each, action in opening:
        entries.append(SessionChanged(placed.at_us, each.session, action, "caller", hold.attribution))
    plane.flights.holding(hold.call_id)
    try:
        await plane.books.commit(*entries, placed)
    except BooksUnavailable as error:
        put_back(opening)
        plane.limiter.void(hold, written=False)
        raise Refused(books_unavailable()) from error
    except BaseException:
        # The row may or may not be written by now; an ending for it is right in both cases.
        put_back(opening)
        plane.limiter.void(hold)
        plane.books.post(
            CallVoided(hold.call_id, plane.clock.now_us(), "the caller left before anything was sent", 499)
        )
        raise
    live.is_written()


def books_unavailable() -> Denial:
    text = (
        "The books cannot be written right now, so nothing was sent. Retry in a moment; tell an operator if it stays."
    )
    return Denial(Code.LEDGER_UNAVAILABLE, text, retry_after_s=2.0)


def _rates(plane: Plane, ask: ModelAsk) -> tuple[PricedRates, ...]:
    if ask.free:
        return (FREE_RATES[ask.free],) * len(ask.model.deployments)
    now_us = plane.clock.now_us()
    found = [plane.prices.rates_for(ask.model.alias, d, now_us) for d in ask.model.deployments]
    known = tuple([r for r in found if r is not None])
    if len(known) < len(found):
        text = (
            f"Model '{ask.model.alias}' has no price here, so its cost cannot be held. An administrator must set one."
        )
        raise Refused(Denial(Code.PRICE_UNKNOWN, text))
    if ask.media is not NO_MEDIA and (lacking := max([r.rates.media.lacks(ask.media) for r in known])):
        text = (
            f"The searches that the provider of model '{ask.model.alias}' would run have a fee that no price here "
            f"covers; leave their tool out, or have an administrator set `{lacking}` in the price of the model."
        )
        raise Refused(Denial(Code.FIELD_UNSUPPORTED, text, field="tools"))
    return known


def _refuse_uncounted(ask: ModelAsk, bindings: tuple[Binding, ...]) -> None:
    """Content whose tokens nothing here can bound may not pass a limit on tokens or money (rule 3)."""
    if ask.uncounted and any(b.limit.hard and b.limit.unit in METERED_UNITS for b in bindings):
        kinds = " and ".join(ask.uncounted)
        text = f"Requests with {kinds} cannot be held against a limit on tokens or money; leave them out."
        raise Refused(Denial(Code.FIELD_UNSUPPORTED, text, field="messages"))


async def _hold(
    plane: Plane,
    live: LiveSession,
    ask: ModelAsk,
    attribution: Attribution,
    bindings: tuple[Binding, ...],
    rates: tuple[PricedRates, ...],
    call_id: str,
    *,
    turn: Turn | None,
) -> Reserved:
    prompt_tokens = _first_bound(ask)
    counted = False
    soft = bool([b for b in bindings if not b.hard])
    slowed_us = 0
    started_ns = plane.clock.monotonic_ns()
    while True:
        now_us = plane.clock.now_us()
        await plane.limiter.load(bindings, live.id, now_us, fresh_session=not live.written)
        sizing = _output_ask(plane, live, ask, rates, prompt_tokens)
        least = _ask(live, sizing, least_tokens(sizing)) if soft else None
        if least is not None and not counted and _short_of_soft(plane, bindings, least, now_us):
            prompt_tokens = min(prompt_tokens, await counted_prompt(plane, ask))
            counted = True
            continue
        size = size_output(sizing, plane.limiter.rooms(bindings, now_us))
        if size is not None:
            held = _ask(live, sizing, size.output_tokens)
            taken = plane.limiter.reserve(
                call_id, attribution, live.id, bindings, held, now_us, least, slowed=slowed_us > 0
            )
            if isinstance(taken, Hold):
                picos = sizing.output_pico_usd
                return Reserved(call_id, now_us, taken, size, prompt_tokens, picos, rates, attribution, turn)
            if not any(s.limit.hard for s in taken):
                wait_us, denial = slowed(plane, taken, slowed_us, now_us)
                sleeping = throttle(live, wait_us / 1e6, denial)
                await (sleeping if turn is None else turn.aside(sleeping))
                slowed_us += wait_us
                continue
        least = least or _ask(live, sizing, least_tokens(sizing))
        short = tuple(s for s in plane.limiter.shortfalls(bindings, least, now_us) if s.limit.hard)
        if not counted and any(s.limit.unit in METERED_UNITS for s in short):
            prompt_tokens = min(prompt_tokens, await counted_prompt(plane, ask))
            counted = True
            continue
        left_s = WAITS_S - (plane.clock.monotonic_ns() - started_ns) / 1e9
        if only_waiting(short) and left_s > 0:
            freed = plane.limiter.freed(left_s)
            await (freed if turn is None else turn.aside(freed))
            continue
        raise _refused(plane, short, now_us)


def _short_of_soft(plane: Plane, bindings: tuple[Binding, ...], least: Ask, now_us: int) -> bool:
    """Whether a limit on tokens or money that refuses nothing has no room for the least that would do."""
    return any(
        not s.limit.hard and s.limit.unit in METERED_UNITS for s in plane.limiter.shortfalls(bindings, least, now_us)
    )


def refused_by(plane: Plane, short: tuple[Shortfall, ...], now_us: int) -> BudgetRefused:
    """What refusing limits lead to, without a hop to another model."""
    denial = refusal(short, now_us, plane.pace.remaining_s())
    return BudgetRefused(denial, pauses=pauses_session(denial, short))


def pauses_session(denial: Denial, short: tuple[Shortfall, ...]) -> bool:
    """Whether the limit that this final denial names pauses the session (rule 28)."""
    limit = denial.limit
    return denial.final and any(
        s.limit.action is Action.PAUSE and limit is not None and s.limit.name == limit.name for s in short
    )


def _refused(plane: Plane, short: tuple[Shortfall, ...], now_us: int) -> BudgetRefused | Reroute:
    refused = refused_by(plane, short, now_us)
    routing = next((s.limit for s in short if s.limit.action is Action.ROUTE_TO), None)
    if refused.pauses or routing is None:
        return refused
    return Reroute(routing.route_to, refused.denial, f"limit {routing.name} has no room for this call")


def _first_bound(ask: ModelAsk) -> int:
    by_bytes = ask.prompt.weight.tokens_max
    return by_bytes if ask.continues is None else min(by_bytes, delta_bound(ask.continues, ask.prompt))


async def counted_prompt(plane: Plane, ask: ModelAsk) -> int:
    """The third step of the ladder."""
    tokens = await plane.tokens.count(ask.texts())
    return counted_bound(tokens, widest_factor(ask), ask.prompt.message_count, ask.prompt.weight.constants)


def widest_factor(ask: ModelAsk) -> float:
    """The most tokens that one of o200k can be at any deployment of the alias (rule 2)."""
    return ask.model.token_factor or max(token_factor(d.upstream_model) for d in ask.model.deployments)


def _output_ask(
    plane: Plane, live: LiveSession, ask: ModelAsk, rates: tuple[PricedRates, ...], prompt_tokens: int
) -> OutputAsk:
    model, rules = ask.model, plane.catalog.estimates
    declared = model.output_tokens_max or OUTPUT_TOKENS_ASSUMED
    if not ask.produces_output or all(r.rates.media.covers(ask.media) for r in rates):
        cap = 0
    elif ask.client_max_tokens is None:
        cap = declared
    else:
        cap = ask.client_max_tokens if model.output_tokens_max is None else min(ask.client_max_tokens, declared)
    return OutputAsk(
        prompt_tokens=prompt_tokens,
        prompt_usd_micros=max(
            [r.prompt_bound(prompt_tokens, ask.service_tiers) + r.media_bound(ask.media, prompt_tokens) for r in rates]
        ),
        output_pico_usd=max(
            [max(r.output_picos(prompt_tokens, ask.service_tiers), r.media_output_picos(ask.media)) for r in rates]
        ),
        cap_tokens=cap,
        client_max_tokens=ask.client_max_tokens if cap else 0,
        cap_known_upstream=False,
        choices=ask.choices,
        usual_tokens=live.turns.usual_output_tokens,
        sliceable=ask.sliceable,
        min_useful_tokens=ask.thinking_tokens
        + (rules.min_useful_output_hidden if model.hidden_reasoning else rules.min_useful_output),
        slice_min_tokens=rules.slice_min,
    )


def _ask(live: LiveSession, sizing: OutputAsk, output_tokens: int) -> Ask:
    money = sizing.prompt_usd_micros + money_for(output_tokens, sizing.output_pico_usd)
    amounts = Amounts(sizing.prompt_tokens, output_tokens, 0, money, requests=1)
    return Ask(amounts, sessions=live.opens)


async def _write_down(
    plane: Plane, live: LiveSession, ask: ModelAsk, reserved: Reserved, rule: str | None, routed_from: str
) -> None:
    hold = reserved.hold
    placed = HoldPlaced(
        call_id=hold.call_id,
        at_us=hold.at_us,
        session_id=live.id,
        attribution=reserved.attribution,
        kind=ask.kind.value,
        held=hold.ask.amounts,
        prompt_tokens=reserved.prompt_tokens,
        prompt_usd_micros=hold.ask.amounts.usd_micros
        - money_for(reserved.size.output_tokens, reserved.output_pico_usd),
        usual_output_tokens=live.turns.usual_output_tokens,
        stream=ask.stream,
        sliced=reserved.size.slice_tokens > 0,
        upstream_model=ask.model.deployments[0].upstream_model,
        policy_version=plane.policy.version,
        rule=rule,
        request_digest=ask.request_digest.hex(),
        warnings=tuple(s.limit.name for s in hold.warnings if not observed(s)),
        would_deny=hold.would_deny,
        routed_from=routed_from,
    )
    await commit_hold(plane, live, hold, placed)
