"""Sessions that people look at, pause, resume and stop."""

import pytest

from gateway.core.report import AuditSearch
from gateway.core.session import SessionState
from gateway.management.refused import ManagementRefused, Unknown
from gateway.management.sessions import list_sessions, set_state, show_session
from gateway.ports import BooksUnavailable
from tests.management.opening import ALICE, BOB, Opened, opening


async def change(node: Opened, session_id: str, state: SessionState, reason: str = "look at it") -> None:
    await set_state(node.plane, session_id, state, reason, "admin:eve")


async def test_paused_and_stopped_sessions_refuse_until_they_are_resumed(node: Opened) -> None:
    await node.chat(ALICE)
    session_id = await node.session_id("run")
    seen = []
    for state in (SessionState.PAUSED, SessionState.OPEN, SessionState.STOPPED, SessionState.OPEN):
        await change(node, session_id, state)
        reply = await node.chat(ALICE)
        seen.append("ok" if reply.status_code == 200 else reply.json()["error"]["code"])
    assert seen == ["session_paused", "ok", "session_stopped", "ok"]


async def test_the_reason_is_told_to_the_caller_and_the_actor_to_the_journal(node: Opened) -> None:
    await node.chat(ALICE)
    session_id = await node.session_id("run")
    await change(node, session_id, SessionState.PAUSED, "it deletes files")
    assert "it deletes files" in (await node.chat(ALICE)).json()["error"]["message"]
    rows = await node.reports.audit(AuditSearch(kind="session", session_id=session_id, limit=1))
    assert (rows[0].doc["action"], rows[0].doc["actor"]) == ("paused", "admin:eve")


async def test_other_sessions_of_the_key_go_on(node: Opened) -> None:
    await node.chat(ALICE, session="one")
    await node.chat(ALICE, session="two")
    await change(node, await node.session_id("one"), SessionState.STOPPED)
    assert (await node.chat(ALICE, session="two")).status_code == 200


async def test_a_state_outlives_a_restart(tmp_path) -> None:
    async with opening(tmp_path) as node:
        await node.chat(ALICE)
        await change(node, await node.session_id("run"), SessionState.STOPPED)
    async with opening(tmp_path) as node:
        assert (await node.chat(ALICE)).json()["error"]["code"] == "session_stopped"
        await change(node, await node.session_id("run"), SessionState.OPEN)
        assert (await node.chat(ALICE)).status_code == 200


async def test_a_change_that_cannot_be_written_does_not_happen(node: Opened) -> None:
    await node.chat(ALICE)
    session_id = await node.session_id("run")
    live = await node.plane.sessions.by_id(session_id)
    assert live is not None
    before = live.session
    await node.application.node.books.close()
    with pytest.raises(BooksUnavailable):
        await change(node, session_id, SessionState.STOPPED)
    assert live.session == before


async def test_a_stopped_session_cannot_be_paused(node: Opened) -> None:
    await node.chat(ALICE)
    session_id = await node.session_id("run")
    await change(node, session_id, SessionState.STOPPED)
    with pytest.raises(ManagementRefused, match="stopped"):
        await change(node, session_id, SessionState.PAUSED)


@pytest.mark.parametrize("session_id", ["ses_nothing", "run", ""])
async def test_only_our_own_ids_name_a_session(node: Opened, session_id: str) -> None:
    await node.chat(ALICE)
    with pytest.raises(Unknown):
        await change(node, session_id, SessionState.PAUSED)


async def test_a_shown_session_has_what_was_booked_its_counters_and_its_last_denials(node: Opened) -> None:
    for _ in range(2):
        await node.chat(ALICE)
    refused = (await node.chat(ALICE, text="one two " * 60_000)).json()["error"]["comptroller"]
    shown = await show_session(node.plane, node.reports, await node.session_id("run"))
    assert (shown["calls"], shown["denied"], shown["in_flight"], shown["key"]) == (2, 1, 0, "alice")
    (tokens,) = [counter for counter in shown["limits"] if counter["name"] == "session-tokens"]
    assert tokens["spent"] == shown["input_tokens"] + shown["output_tokens"]
    assert [denial["call"] for denial in shown["denials"]] == [refused["call"]]
    assert shown["denials"][0]["limit"] == refused["limit"]


async def test_a_session_is_shown_with_its_counters_after_a_restart(tmp_path) -> None:
    async with opening(tmp_path) as node:
        await node.chat(ALICE)
        session_id = await node.session_id("run")
        before = await show_session(node.plane, node.reports, session_id)
    async with opening(tmp_path) as node:
        after = await show_session(node.plane, node.reports, session_id)
    assert after == before


async def test_lists_narrow_by_key_and_state(node: Opened) -> None:
    await node.chat(ALICE, session="one")
    await node.chat(ALICE, session="two")
    await node.chat(BOB, session="three")
    await change(node, await node.session_id("two"), SessionState.PAUSED)

    async def clients(**narrow: str | None) -> list[str]:
        asked = {"key": None, "state": None, **narrow}
        found = await list_sessions(node.plane, node.reports, key=asked["key"], state=asked["state"], limit=10)
        return sorted(row["client_id"] for row in found)

    assert await clients() == ["one", "three", "two"]
    assert await clients(key="alice") == ["one", "two"]
    assert await clients(state="paused") == ["two"]
    assert await clients(key="bob", state="paused") == []
    with pytest.raises(Unknown):
        await clients(key="nobody")
