"""What is kept of replies, in which bounds, and that of any number of twins one is the first."""

import asyncio
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.denial import Code, Denial
from gateway.core.idempotency import ReplayRules, malformed, mismatch, reply_gone, well_formed
from gateway.core.ledger import CallState
from gateway.pipeline.kept_replies import ENTRY_BYTES, KeptReply, Recording
from gateway.pipeline.replays import Replays

HOUR_US = 3_600_000_000
NO_HEADERS = MappingProxyType[str, str]({})


def reply(size: int = 10, at_us: int = 0, *, body_digest: str = "b") -> KeptReply:
    return KeptReply(body_digest, "call_1", at_us, 200, NO_HEADERS, (b"x" * size,), stream=False)


async def landed(replays: Replays, name: str, kept: KeptReply | Denial | None, *, keep: bool = True) -> None:
    at = ("key", name)
    replays.land(at, replays.begin(at, "b"), kept, keep=keep)


async def test_a_reply_is_kept_for_its_time() -> None:
    replays = Replays(ReplayRules(kept_for_us=HOUR_US))
    await landed(replays, "a", reply(at_us=5))
    assert replays.kept(("key", "a"), 4 + HOUR_US) == reply(at_us=5)
    assert replays.kept(("other", "a"), 5) is None
    assert replays.kept(("key", "a"), 5 + HOUR_US) is None
    assert replays.bytes == 0


async def test_a_sweep_lets_go_of_the_old_only() -> None:
    replays = Replays(ReplayRules(kept_for_us=HOUR_US))
    for number in range(3):
        await landed(replays, str(number), reply(at_us=number))
    replays.sweep(HOUR_US + 1)
    assert [replays.kept(("key", str(number)), 3) is not None for number in range(3)] == [False, False, True]


async def test_what_is_not_to_be_kept_is_told_to_twins_only() -> None:
    replays, denial = Replays(ReplayRules()), Denial(Code.BUDGET_EXHAUSTED, "no")
    for result in (denial, None, reply()):
        flight = replays.begin(("key", "a"), "b")
        replays.land(("key", "a"), flight, result, keep=False)
        replays.land(("key", "a"), flight, reply(), keep=True)
        assert flight.done.result() == result
        assert replays.flight(("key", "a")) is None
        assert replays.kept(("key", "a"), 1) is None


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3_000)), max_size=40))
def test_memory_stays_within_its_bound_and_adds_up(lands: list[tuple[int, int]]) -> None:
    async def run() -> None:
        replays = Replays(ReplayRules(bytes_max=5_000))
        for name, size in lands:
            await landed(replays, str(name), reply(size))
            kept = [replays.kept(("key", str(number)), 1) for number in range(10)]
            sizes = [each.bytes for each in kept if each is not None]
            assert replays.bytes == sum(sizes) <= 5_000
            assert ENTRY_BYTES + size > 5_000 or replays.kept(("key", str(name)), 1) is not None

    asyncio.run(run())


def test_a_recording_beyond_its_bound_keeps_nothing() -> None:
    recording = Recording(10)
    for chunk in (b"12345", b"67890"):
        recording.take(chunk)
    assert recording.chunks() == (b"12345", b"67890")
    recording.take(b"x")
    assert recording.chunks() is None


@pytest.mark.parametrize(
    ("key", "fine"), [("a", True), ("x" * 255, True), ("", False), ("x" * 256, False), ("a b", False)]
)
def test_which_keys_are_taken(key: str, fine: bool) -> None:
    assert well_formed(key) is fine


@pytest.mark.parametrize(
    ("state", "usd_micros", "words"),
    [
        (CallState.SETTLED, 1_500_000, "it was charged 1.500000 USD"),
        (CallState.SETTLED, None, "it was charged,"),
        (CallState.HELD, 0, "it is still being booked"),
    ],
)
def test_a_reply_that_is_gone_names_the_call_and_what_it_was_charged(
    state: CallState, usd_micros: int | None, words: str
) -> None:
    denial = reply_gone("call_9", state, usd_micros)
    assert denial.final
    assert "call_9" in denial.message
    assert words in denial.message


def test_all_refusals_are_final() -> None:
    assert [d.code for d in (malformed(), mismatch()) if d.final] == [
        Code.REQUEST_MALFORMED,
        Code.IDEMPOTENCY_MISMATCH,
    ]
