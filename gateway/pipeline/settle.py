"""Station 5: the real usage replaces the hold, exactly once. Never refuses, never waits for the disk (rule 9).

What the provider reported is booked as it is; where it reported nothing usable, what was seen is counted and the row is
marked as an estimate. A call that cost nothing is voided and gives its request back.
"""

from typing import NamedTuple

from gateway.core.alerts_of import overrun_alert
from gateway.core.denial import Denial
from gateway.core.ledger import Amounts, CallSettled, CallVoided, Outcome
from gateway.core.media import NO_MEDIA, Media
from gateway.core.pricing import cost
from gateway.core.record import CallRecord
from gateway.core.usage import Usage
from gateway.pipeline.plane import Plane
from gateway.pipeline.reserve import Reserved
from gateway.pipeline.sessions import LiveSession
from gateway.pipeline.thresholds import tell_reached

SAVED_METER = "cache_saved_usd_micros"


class Ended(NamedTuple):
    """How a forwarded call ended. Durations in microseconds; `served_tier` = the service tier that the reply names;
    `denial` = with what we ended it ourselves; `media` = what was used of other units;
    `saved_usd_micros` = what an answer from the cache would have cost."""

    outcome: Outcome
    usage: Usage
    place: int
    status: int
    upstream_us: int
    first_byte_us: int | None
    served_tier: str | None
    kind: str
    stream: bool
    denial: Denial | None = None
    media: Media = NO_MEDIA
    saved_usd_micros: int = 0


class Settled(NamedTuple):
    posted: Amounts
    overrun: bool


def settle_model(plane: Plane, live: LiveSession, reserved: Reserved, ended: Ended, started_ns: int) -> Settled:
    """Books a call. Runs without a suspension point, so no cancellation can come between counters and ledger."""
    usage, priced, attribution = ended.usage, reserved.rates[ended.place], reserved.hold.attribution
    if reserved.standing is not None:
        plane.health.ended(reserved.standing, ended.outcome)
    charged = cost(usage, priced.rates, ended.served_tier, ended.media)
    estimated = usage.estimated or ("price" if priced.stated else None)
    money = charged.total_usd_micros
    reserved.usd_micros, reserved.reported = money, ended.outcome is Outcome.OK and estimated is None
    meters = tuple([(line.meter, line.quantity, line.cost_usd_micros) for line in charged.lines])
    if ended.saved_usd_micros:
        meters += ((SAVED_METER, ended.saved_usd_micros, 0),)
    posted = Amounts(usage.input_tokens, usage.output_tokens, usage.cached_input_tokens, money, requests=1)
    now_us = plane.clock.now_us()
    over = _overrun(plane, reserved, posted, now_us)
    total_us = (plane.clock.monotonic_ns() - started_ns) // 1000
    ours_us = max(0, total_us - ended.upstream_us - reserved.leave_turn(usage.input_tokens + usage.output_tokens))
    tell_reached(plane, plane.limiter.settle(reserved.hold, posted), attribution, now_us)
    plane.spending.booked(attribution, money, now_us)
    plane.books.post(
        CallSettled(
            call_id=reserved.call_id,
            at_us=now_us,
            started_at_us=reserved.at_us,
            session_id=live.id,
            attribution=attribution,
            outcome=ended.outcome,
            usage=usage,
            posted=posted,
            meters=meters,
            estimated=estimated,
            overrun=over,
            price_source=priced.rates.source,
            status=ended.status,
            ours_us=ours_us,
            upstream_us=ended.upstream_us,
            first_byte_us=ended.first_byte_us,
            denial=None if ended.denial is None else ended.denial.machine(),
        )
    )
    plane.pace.took(total_us / 1e6)
    plane.telemetry.finished(_record(live, reserved, ended, posted, estimated, ours_us, over=over is not None))
    return Settled(posted, over is not None)


def _record(
    live: LiveSession,
    reserved: Reserved,
    ended: Ended,
    posted: Amounts,
    estimated: str | None,
    ours_us: int,
    *,
    over: bool,
) -> CallRecord:
    attribution = reserved.hold.attribution
    return CallRecord(
        call_id=reserved.call_id,
        kind=ended.kind,
        session_id=live.id,
        key_id=attribution.key_id,
        model=attribution.model,
        provider=attribution.provider,
        tool=attribution.tool,
        outcome=ended.outcome.value,
        code="",
        status=ended.status,
        stream=ended.stream,
        input_tokens=posted.input_tokens,
        cached_input_tokens=posted.cached_input_tokens,
        output_tokens=posted.output_tokens,
        cost_usd_micros=posted.usd_micros,
        estimated=estimated or "",
        overrun=over,
        ours_us=ours_us,
        upstream_us=ended.upstream_us,
        first_byte_us=ended.first_byte_us or 0,
        would_deny=reserved.hold.would_deny,
    )


def void_model(plane: Plane, reserved: Reserved, reason: str, status: int) -> None:
    """Nothing was charged: the hold is given back whole."""
    plane.limiter.void(reserved.hold)
    reserved.leave_turn(0)
    plane.books.post(CallVoided(reserved.call_id, plane.clock.now_us(), reason, status))


def _overrun(plane: Plane, reserved: Reserved, posted: Amounts, now_us: int) -> Amounts | None:
    """What was posted beyond the hold (rule 1); an operator is told."""
    held = reserved.hold.ask.amounts
    if (
        posted.input_tokens <= held.input_tokens
        and posted.output_tokens <= held.output_tokens
        and posted.usd_micros <= held.usd_micros
    ):
        return None
    over = Amounts(
        max(0, posted.input_tokens - held.input_tokens),
        max(0, posted.output_tokens - held.output_tokens),
        0,
        max(0, posted.usd_micros - held.usd_micros),
    )
    plane.alerts.post(overrun_alert(over, posted, reserved.attribution, reserved.call_id, now_us))
    return over
