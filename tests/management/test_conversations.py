"""Rule 13, `sessions.fingerprint`: runs of programs that send no mark are sessions of their own, by how they began."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.core.session import SessionState
from gateway.management.sessions import set_state
from tests.management.hand_clock import SECOND_US, by_hand
from tests.management.opening import ALICE, BOB, Opened, opening

ON: Mapping[str, Any] = {"limits": [], "sessions": {"fingerprint": True}}


async def call(node: Opened, *turns: str, secret: str = ALICE, **headers: str) -> str:
    """The session that the call belonged to, or the code of its refusal."""
    said = [{"role": "assistant" if at % 2 else "user", "content": text} for at, text in enumerate(turns)]
    body = {"model": "small", "messages": said, "max_tokens": 20}
    sent = {"authorization": f"Bearer {secret}", "user-agent": "GeminiCLI/1", **headers}
    reply = await node.client.post("/v1/chat/completions", json=body, headers=sent)
    await node.application.node.books.totals([])
    if not reply.is_success:
        return str(reply.json()["error"]["code"])
    if (warning := reply.headers.get("x-comptroller-warning")) is not None:
        assert "this conversation counts on the session of its key" in warning
    return str(reply.headers["x-comptroller-session"])


async def test_off_unless_switched_on(tmp_path: Path) -> None:
    async with opening(tmp_path, limits=[]) as node:
        assert await call(node, "one") == await call(node, "two")


async def test_each_conversation_is_a_session_and_goes_on_while_it_grows(tmp_path: Path) -> None:
    async with opening(tmp_path, **ON) as node:
        one, two = await call(node, "one"), await call(node, "two")
        assert one != two
        assert await call(node, "one", "yes", "go on") == one
        assert await call(node, "two", "yes", "go on") == two
        assert await call(node, "one", "yes", "go on") == one, "a retry"
        marked = {"x-comptroller-session": "mine"}
        assert await call(node, "one", **marked) == await call(node, "two", **marked)
        assert await call(node, "one", secret=BOB) != one


async def test_the_same_words_begin_another_run_where_the_messages_fall_back(tmp_path: Path) -> None:
    async with opening(tmp_path, **ON) as node:
        first = await call(node, "one")
        assert await call(node, "one", "yes", "go on") == first
        second = await call(node, "one")
        assert second != first
        assert await call(node, "one", "no", "but why") == second
        stored = await node.application.node.books.session(first)
        assert stored is not None
        assert stored.state is SessionState.OPEN


async def test_runs_side_by_side_keep_their_own_sessions(tmp_path: Path) -> None:
    long, short = ["one", *["yes", "go on"] * 4], ["one", *["no", "but why"]]
    async with opening(tmp_path, **ON) as node:
        first = await call(node, *long)
        second = await call(node, *short)
        assert second != first
        for _ in range(3):
            long, short = [*long, "yes", "go on"], [*short, "no", "but why"]
            assert (await call(node, *long), await call(node, *short)) == (first, second)


async def test_a_run_that_says_the_same_as_an_earlier_one_stays_in_its_own_session(tmp_path: Path) -> None:
    said = ["one", "yes", "go on", "yes", "go on"]
    async with opening(tmp_path, **ON) as node:
        runs = [[await call(node, *said[:length]) for length in (1, 3, 5)] for _ in range(3)]
        assert [len(set(run)) for run in runs] == [1, 1, 1]
        assert len({run[0] for run in runs}) == 3


async def test_a_run_keeps_its_session_where_a_shorter_one_finds_no_room_for_its_own(tmp_path: Path) -> None:
    limited = {"limits": [], "sessions": {"fingerprint": True, "max_new_per_hour": 2}}
    async with opening(tmp_path, **limited) as node:
        own, first = await call(node, ""), await call(node, "one", "yes", "go on")
        assert await call(node, "one") == own
        assert await call(node, "one", "yes", "go on", "yes", "on") == first
        await set_state(node.application.node.plane, first, SessionState.PAUSED, "looks odd", "sec")
        assert await call(node, "one", *["yes", "on"] * 3) == "session_paused"


async def test_after_idling_it_starts_afresh(tmp_path: Path) -> None:
    async with opening(tmp_path, **ON) as node:
        clock = by_hand(node)
        first = await call(node, "one")
        clock.at_us += 1_900 * SECOND_US
        assert await call(node, "one", "yes", "go on") != first


async def test_nobody_gets_out_of_a_pause_by_beginning_again(tmp_path: Path) -> None:
    async with opening(tmp_path, **ON) as node:
        held = await call(node, "one")
        assert await call(node, "one", "yes", "go on") == held
        await set_state(node.application.node.plane, held, SessionState.PAUSED, "looks odd", "sec")
        for _ in range(70):  # more than are judged one by one
            assert await call(node, "one") == "session_paused"
        other = await call(node, "two")
        assert other.startswith("ses_"), "another conversation of a key that floods is judged for itself"
        await set_state(node.application.node.plane, held, SessionState.OPEN, "fine", "sec")
        assert await call(node, "one", "yes", "go on") == held


async def test_beyond_the_new_sessions_of_an_hour_they_count_on_the_keys_own(tmp_path: Path) -> None:
    limited = {"limits": [], "sessions": {"fingerprint": True, "max_new_per_hour": 3}}
    async with opening(tmp_path, **limited) as node:
        own = await call(node, "")
        one, two = await call(node, "one"), await call(node, "two")
        assert len({own, one, two}) == 3
        assert await call(node, "three") == own
        assert await call(node, "three", "yes", "go on") == own
        assert await call(node, "one", "yes", "go on") == one


@pytest.mark.parametrize("own_first", [True, False])
async def test_the_limit_on_new_sessions_stays_a_limit(tmp_path: Path, own_first: bool) -> None:
    limited = {"limits": [], "sessions": {"fingerprint": True, "max_new_per_hour": 1}}
    async with opening(tmp_path, **limited) as node:
        first = await call(node, *([""] if own_first else ["one"]))
        assert await call(node, "two") == (first if own_first else "session_limit")


async def test_after_a_restart_it_is_the_same_session(tmp_path: Path) -> None:
    async with opening(tmp_path, **ON) as node:
        first = await call(node, "one")
    async with opening(tmp_path, **ON) as node:
        assert await call(node, "one", "yes", "go on") == first
