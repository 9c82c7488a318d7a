"""Entries for tests of the books: short to write, complete, and each with its own figures."""

from dataclasses import replace

from gateway.core.attribution import Attribution
from gateway.core.ledger import (
    Amounts,
    CallDenied,
    CallSettled,
    HoldPlaced,
    Outcome,
    SessionChanged,
)
from gateway.core.limit import Unit
from gateway.core.session import CHILD, Part, Session, SessionMark, SessionState
from gateway.core.usage import Usage

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
QUARTER_US = 15 * MINUTE_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
MIDNIGHT_US = 19_700 * DAY_US
"""A midnight in UTC; tests count from here."""

ALICE = Attribution(
    "key_1",
    "alice-laptop",
    user="alice",
    team="platform",
    agent="reviewer",
    model="gpt-5-mini",
    model_tier="small",
    provider="openai",
    environment="test",
    cost_center="CC-100",
    roles=("developer", "contractor"),
    labels=(("seniority", "staff"),),
    tags=(("project", "apollo"), ("ticket", "42")),
)
BOB = Attribution("key_2", "bob-ci", user="bob", team="platform", app="ci", model="coder", provider="claude")
HELD = Amounts(input_tokens=1_000, output_tokens=500, usd_micros=900, requests=1)
POSTED = Amounts(input_tokens=800, output_tokens=200, cached_input_tokens=100, usd_micros=700, requests=1)
USAGE = Usage(800, 100, 30, 200, 50)


def placed(
    call_id: str,
    attribution: Attribution = ALICE,
    *,
    at_us: int = MIDNIGHT_US,
    session_id: str = "ses_1",
    held: Amounts = HELD,
    stream: bool = False,
    sliced: bool = False,
) -> HoldPlaced:
    return HoldPlaced(
        call_id=call_id,
        at_us=at_us,
        session_id=session_id,
        attribution=attribution,
        kind="chat",
        held=held,
        prompt_tokens=held.input_tokens,
        prompt_usd_micros=held.usd_micros // 3,
        usual_output_tokens=300,
        stream=stream,
        sliced=sliced,
        upstream_model="gpt-5-mini-2026-08-07",
        policy_version="v1",
        rule="policies/10-team.csv:14",
        request_digest="ab" * 16,
        limits=("session-tokens", "user-day"),
    )


def settled(hold: HoldPlaced, posted: Amounts = POSTED, *, estimated: str | None = None) -> CallSettled:
    return CallSettled(
        call_id=hold.call_id,
        at_us=hold.at_us + SECOND_US,
        started_at_us=hold.at_us,
        session_id=hold.session_id,
        attribution=hold.attribution,
        outcome=Outcome.OK,
        usage=USAGE,
        posted=posted,
        meters=(("input", 700, 400), ("cached_input", 100, 100), ("output", 200, 200)),
        estimated=estimated,
        overrun=None,
        price_source="genai-prices 0.2",
        status=200,
        ours_us=120,
        upstream_us=900_000,
        first_byte_us=400_000,
    )


def denied(
    call_id: str,
    attribution: Attribution = ALICE,
    *,
    at_us: int = MIDNIGHT_US,
    session_id: str = "ses_1",
    count: int = 1,
) -> CallDenied:
    return CallDenied(
        call_id=call_id,
        at_us=at_us,
        session_id=session_id,
        attribution=attribution,
        kind="chat",
        code="budget_exhausted",
        denial={
            "code": "budget_exhausted",
            "message": f"Limit 'user-day' for user:{attribution.user}: 5 USD spent.",
            "limit": {"name": "user-day", "scope": f"user:{attribution.user}", "limit": 5.0},
        },
        policy_version="v1",
        count=count,
    )


def session(
    session_id: str = "ses_1", *, at_us: int = MIDNIGHT_US, client_id: str = "run-1", key_id: str = "key_1"
) -> Session:
    mark = SessionMark("header", client_id) if client_id else SessionMark("implicit")
    return Session(session_id, key_id, mark, SessionState.OPEN, at_us, at_us, at_us)


def child_session(session_id: str, *ancestors: str, tokens: int = 100, at_us: int = MIDNIGHT_US) -> Session:
    """`ancestors`: the parent first."""
    parts = (Part(Unit.TOKENS, tokens), Part(Unit.USD, 5))
    mark = SessionMark(CHILD)
    return Session(session_id, "key_1", mark, SessionState.OPEN, at_us, at_us, at_us, "", ancestors, parts)


def opened(live: Session, attribution: Attribution = ALICE) -> SessionChanged:
    return SessionChanged(live.opened_at_us, live, "opened", "caller", attribution)


def changed(live: Session, state: SessionState, reason: str, *, at_us: int, actor: str = "admin") -> SessionChanged:
    return SessionChanged(at_us, replace(live, state=state, reason=reason), state.value, actor)
