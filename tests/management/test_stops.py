"""Whole agents, keys, users and teams that people hold and let go on."""

from pathlib import Path

import pytest

from gateway.core.report import AuditSearch
from gateway.core.session import SessionState
from gateway.management.quota import status
from gateway.management.refused import ManagementRefused, Unknown
from gateway.management.stops import list_stops, set_stop
from gateway.ports import BooksUnavailable
from tests.management.opening import ALICE, BOB, Opened, opening

SCOPES = {"agent": "reviewer", "key": "alice", "user": "alice", "team": "platform"}


async def change(node: Opened, kind: str, name: str, state: SessionState, reason: str = "look at it") -> None:
    await set_stop(node.plane, kind, name, state, reason, "admin:eve")


@pytest.mark.parametrize("kind", SCOPES)
@pytest.mark.parametrize("state", [SessionState.PAUSED, SessionState.STOPPED])
async def test_what_is_held_is_refused_in_every_session_until_it_is_let_go_on(node: Opened, kind, state):
    await node.chat(ALICE, session="old")
    await change(node, kind, SCOPES[kind], state)
    for session in ("old", "new"):
        error = (await node.chat(ALICE, session=session)).json()["error"]
        assert error["code"] == "agent_stopped"
        assert SCOPES[kind] in error["message"]
        assert "look at it" in error["message"]
    assert (await node.chat(BOB)).status_code == 200, "nobody else is held"
    (held,) = list_stops(node.plane)
    assert (held["kind"], held["name"], held["state"], held["actor"]) == (kind, SCOPES[kind], state.value, "admin:eve")
    await change(node, kind, SCOPES[kind], SessionState.OPEN)
    assert list_stops(node.plane) == []
    assert (await node.chat(ALICE, session="old")).status_code == 200


async def test_a_stop_outlives_restarts_and_so_does_its_end(tmp_path: Path) -> None:
    async with opening(tmp_path) as node:
        for kind, name in SCOPES.items():
            await change(node, kind, name, SessionState.STOPPED, reason="user:bob asked for it")
    async with opening(tmp_path) as node:
        assert {(row["kind"], row["name"]) for row in list_stops(node.plane)} == set(SCOPES.items())
        assert {row["reason"] for row in list_stops(node.plane)} == {"user:bob asked for it"}
        for kind, name in SCOPES.items():
            assert (await node.chat(ALICE)).json()["error"]["code"] == "agent_stopped"
            await change(node, kind, name, SessionState.OPEN)
    async with opening(tmp_path) as node:
        assert list_stops(node.plane) == []
        assert (await node.chat(ALICE)).status_code == 200
        assert (await node.reports.verify()).faults == ()


async def test_who_held_whom_and_why_is_in_the_journal_and_no_name_is(node: Opened) -> None:
    await change(node, "agent", "reviewer", SessionState.STOPPED)
    await change(node, "agent", "reviewer", SessionState.OPEN, reason="")
    rows = await node.reports.audit(AuditSearch(kind="stop"))
    assert [(row.doc["action"], row.doc["agent"], row.doc["actor"]) for row in rows] == [
        ("resumed", "reviewer", "admin:eve"),
        ("stopped", "reviewer", "admin:eve"),
    ]
    assert rows[-1].doc["reason"] == "look at it"
    stored = await node.application.node.books._writer.read("SELECT subject, doc FROM journal WHERE kind = 'stop'")
    assert not any("reviewer" in f"{row[0]}{row[1]}" for row in stored)


async def test_a_stop_that_was_taken_out_of_the_books_behind_our_back_is_found(node: Opened) -> None:
    await change(node, "team", "platform", SessionState.STOPPED)
    writer = node.application.node.books._writer
    await writer.read("DELETE FROM stops")
    faults = (await node.reports.verify()).faults
    assert [fault.what.startswith("the stop of team:team_") for fault in faults] == [True]
    await change(node, "team", "platform", SessionState.OPEN)
    await writer.read("INSERT INTO stops VALUES ('user', 'user_0', 'stopped', '', '', 0)")
    assert [fault.what for fault in (await node.reports.verify()).faults] == [
        "the stop of user:user_0 is not what the journal says"
    ]


@pytest.mark.parametrize(
    ("kind", "name", "state"),
    [
        ("agent", "reviwer", SessionState.STOPPED),
        ("key", "nobody", SessionState.PAUSED),
        ("team", "-", SessionState.STOPPED),
        ("user", "alice", SessionState.OPEN),
    ],
)
async def test_a_switch_that_would_only_seem_to_act_is_refused(node: Opened, kind, name, state):
    with pytest.raises(Unknown, match=name):
        await change(node, kind, name, state)
    assert list_stops(node.plane) == []


async def test_nobody_is_closed_as_a_whole(node: Opened) -> None:
    with pytest.raises(ManagementRefused, match="pause or stop"):
        await change(node, "user", "alice", SessionState.CLOSED)


async def test_a_stop_that_cannot_be_written_does_not_happen(node: Opened) -> None:
    await node.application.node.books.close()
    with pytest.raises(BooksUnavailable):
        await change(node, "user", "alice", SessionState.STOPPED)
    assert list_stops(node.plane) == []


async def test_rule_15_the_agent_is_told_while_it_is_held(node: Opened) -> None:
    await change(node, "user", "alice", SessionState.PAUSED)
    answer = await status(node.plane, node.caller("alice"), {}, None)
    assert "All calls of user 'alice' are paused (look at it)" in answer["summary"]


async def test_a_key_that_is_declared_without_agent_is_not_held_with_all_agents(node: Opened) -> None:
    await change(node, "agent", "reviewer", SessionState.STOPPED)
    assert (await node.chat(BOB)).status_code == 200


async def test_the_api_lists_and_changes_stops(node: Opened) -> None:
    body = {"kind": "agent", "name": "reviewer", "action": "stop", "reason": "too dear"}
    reply = await node.admin("POST", "/api/v1/stops", body, **{"x-comptroller-actor": "eve"})
    assert reply.status_code == 200
    assert {k: v for k, v in reply.json().items() if k != "at"} == {
        "kind": "agent",
        "name": "reviewer",
        "state": "stopped",
        "reason": "too dear",
        "actor": "admin:eve",
        "ended": 0,
    }
    assert [row["name"] for row in (await node.admin("GET", "/api/v1/stops")).json()["stops"]] == ["reviewer"]
    lifted = await node.admin("POST", "/api/v1/stops", {**body, "action": "resume"})
    assert (lifted.json()["state"], lifted.json()["reason"]) == ("open", "")
    assert (await node.admin("POST", "/api/v1/stops", {**body, "name": "nobody"})).status_code == 404
    assert (await node.admin("POST", "/api/v1/stops", {**body, "kind": "org"})).status_code == 400
