"""Child sessions: opened at a part of their parent's budget, counted on every ancestor, held and closed with them."""

import asyncio
from typing import Any

import pytest

from gateway.core.denial import Code, Refused
from gateway.core.identity import KeyState
from gateway.core.session import SessionState
from gateway.management import own, quota
from gateway.management.keys import NewKey
from gateway.management.sessions import close_session, list_sessions, set_state, show_session
from gateway.ports import BooksUnavailable
from tests.management.opening import ALICE, BOB, Opened, opening
from tests.management.trees import call_in, child_of, code_of, counters, spent

SESSION_LIMITS = [
    {"name": "session-tokens", "each": "session", "tokens": 2_000},
    {"name": "session-usd", "each": "session", "usd": 1},
]
CALL_TOKENS = 25  # of the simulated provider for the shortest request


async def refused(waiting: Any) -> Code:
    with pytest.raises(Refused) as caught:
        await waiting
    return caught.value.denial.code


async def test_rule_16_what_a_child_spends_counts_on_it_and_on_all_ancestors(node: Opened) -> None:
    root = await node.session_id("run") if (await node.chat(ALICE)).status_code == 200 else ""
    child = await child_of(node)
    grandchild = await child_of(node, token=child["token"], tokens=500)
    before = {(await spent(node, "session-tokens", s))[0] for s in (root,)}
    reply = await call_in(node, grandchild)
    assert reply.headers["x-comptroller-session"] == grandchild["session"]
    used = reply.json()["usage"]["total_tokens"]
    found = {s: (await spent(node, "session-tokens", s))[0] for s in (root, child["session"], grandchild["session"])}
    assert found == {root: before.pop() + used, child["session"]: used, grandchild["session"]: used}
    assert (await spent(node, "child-part-tokens", child["session"])) == (used, 0)
    assert (await spent(node, "child-part-tokens", grandchild["session"])) == (used, 0)


async def test_rule_16_a_part_is_a_cap_and_nothing_is_set_aside(tmp_path) -> None:
    async with opening(tmp_path, limits=SESSION_LIMITS) as node:
        await node.chat(ALICE)
        root = await node.session_id("run")
        before = await spent(node, "session-tokens", root)
        children = [await child_of(node, tokens=1_500) for _ in range(3)]
        assert await spent(node, "session-tokens", root) == before
        assert [child["limits"][0]["limit"] for child in children] == [1_500] * 3
        assert (await node.chat(ALICE)).status_code == 200


@pytest.mark.parametrize(
    ("wish", "limit", "calls"),
    [({"tokens": 100}, "child-part-tokens", 4), ({"requests": 2}, "child-part-requests", 2)],
)
async def test_rule_16_a_child_is_refused_beyond_its_part_and_its_parent_is_not(
    node: Opened, wish: dict[str, Any], limit: str, calls: int
) -> None:
    await node.chat(ALICE)
    child = await child_of(node, **wish)
    codes: list[str] = []
    reply = await call_in(node, child)
    while code_of(reply) == "ok":
        codes.append("ok")
        reply = await call_in(node, child, text=f"step {len(codes)}")
    codes.append(code_of(reply))
    assert 0 < len(codes) - 1 <= calls
    assert codes[-1] == "session_budget_exhausted"
    denial = reply.json()["error"]["comptroller"]
    facts = denial["limit"]
    assert (facts["name"], facts["scope"]) == (limit, f"session:{child['session']}")
    assert facts["remaining"] == facts["limit"] - facts["spent"] - facts["held"] < facts["asked"]
    explained = await quota.explain(node.plane, node.reports, node.caller("alice"), denial["call"])
    assert explained["comptroller"] == denial
    assert (await node.chat(ALICE)).status_code == 200


async def test_rule_16_a_child_stops_where_an_ancestor_has_nothing_left(tmp_path) -> None:
    async with opening(tmp_path, limits=[{"name": "session-tokens", "each": "session", "tokens": 300}]) as node:
        await node.chat(ALICE)
        child = await child_of(node, tokens=10_000)
        left = child["limits"][0]["limit"]
        assert left < 300, "cut to what the parent has left"
        while (reply := await node.chat(ALICE)).status_code == 200:
            pass
        refusal = await call_in(node, child)
        assert code_of(refusal) == "session_budget_exhausted"
        assert refusal.json()["error"]["comptroller"]["limit"]["scope"] == f"session:{child['parent']}"
        assert code_of(reply) == "session_budget_exhausted"


@pytest.mark.parametrize(
    ("wish", "parts"),
    [
        ({"usd": 0.25}, {"child-part-usd": 0.25}),
        (
            {"tokens": 7, "usd": 0.5, "requests": 3, "tool_calls": 2},
            {"child-part-tokens": 7, "child-part-usd": 0.5, "child-part-requests": 3, "child-part-tool_calls": 2},
        ),
        ({"share": 50}, {"child-part-tokens": 1_000, "child-part-usd": 0.5}),
        ({"share": 50, "tokens": 300}, {"child-part-tokens": 300, "child-part-usd": 0.5}),
        (
            {"share": 10, "tokens": 300, "requests": 1},
            {"child-part-tokens": 200, "child-part-usd": 0.1, "child-part-requests": 1},
        ),
        ({"tokens": 9_999_999}, {"child-part-tokens": 2_000}),
    ],
)
async def test_rule_16_parts_in_every_unit_and_as_a_share(
    tmp_path, wish: dict[str, Any], parts: dict[str, float]
) -> None:
    async with opening(tmp_path, limits=SESSION_LIMITS) as node:
        child = await child_of(node, "fresh", **wish)
        assert {limit["name"]: limit["limit"] for limit in child["limits"]} == parts
        status = await quota.status(node.plane, node.caller("alice"), {"x-comptroller-session": child["token"]}, None)
        own_part = {limit["name"]: limit["limit"] for limit in status["sessions"][0]["limits"]}
        assert status["sessions"][0]["session"] == child["session"]
        assert parts.items() <= own_part.items()
        listed = (await node.admin("GET", "/api/v1/limits")).json()["limits"]
        shown = {v["name"]: v["limit"] for v in listed if v["scope"] == f"session:{child['session']}"}
        assert parts.items() <= shown.items()
        named = next(iter(parts))
        assert (await node.admin("GET", f"/api/v1/limits/{named}")).json()["limits"][0]["limit"] == parts[named]


@pytest.mark.parametrize(
    "wish", [{"agent": "x"}, {"share": None}, {"usd": 0.0000001}, {"usd": 1e30}, {"agent": "a\nb", "tokens": 1}]
)
async def test_a_wish_without_a_part_or_with_an_impossible_one_is_refused(node: Opened, wish: dict[str, Any]) -> None:
    assert await refused(child_of(node, **wish)) is Code.REQUEST_MALFORMED
    assert await node.reports.sessions(key_id=None, state=None, limit=10) == []


async def test_rule_16_the_token_works_with_the_openers_key_or_the_agent_it_names(node: Opened) -> None:
    _, searcher = await node.desk.create(NewKey("s1", agent="searcher", user="sue"), "admin")
    await node.chat(ALICE)
    plain, named = await child_of(node), await child_of(node, tokens=500, agent="searcher")
    assert code_of(await call_in(node, plain)) == "ok"
    assert code_of(await call_in(node, plain, BOB)) == "request_malformed"
    assert code_of(await call_in(node, plain, searcher)) == "request_malformed"
    assert code_of(await call_in(node, named, BOB)) == "request_malformed"
    assert code_of(await call_in(node, named)) == "ok"
    reply = await call_in(node, named, searcher)
    assert code_of(reply) == "ok"
    usage = {row.group[0]: row.calls for row in await node.reports.usage(("key",), None, None)}
    assert usage == {"alice": 3, "s1": 1, "bob": 0}, "attribution is that of the key that called"
    root = await node.session_id("run")
    by_session = {row.session.id: row for row in await node.reports.sessions(key_id=None, state=None, limit=10)}
    assert by_session[root].below.requests == 3


@pytest.mark.parametrize("state", [KeyState.DISABLED, KeyState.REVOKED])
async def test_a_child_of_a_key_that_is_out_of_force_is_out_of_force(node: Opened, state: KeyState) -> None:
    _, opener = await node.desk.create(NewKey("opener"), "admin")
    _, searcher = await node.desk.create(NewKey("s1", agent="searcher"), "admin")
    await node.chat(opener)
    child = await child_of(node, key="opener", tokens=500, agent="searcher")
    assert code_of(await call_in(node, child, searcher)) == "ok"
    await node.desk.set_state("opener", state, "admin")
    assert code_of(await call_in(node, child, searcher)) == "session_stopped"


async def test_rule_16_a_token_is_never_read_as_an_id_anywhere(node: Opened) -> None:
    for token in ("cptr_ss_made-up", "CPTR_SS_x", "cptr_ss_"):
        reply = await node.chat(ALICE, session=token)
        assert (reply.status_code, code_of(reply)) == (400, "request_malformed")
        headers = {"x-comptroller-session": token}
        caller = node.caller("alice")
        for asked in (
            quota.status(node.plane, caller, headers, None),
            quota.estimate(node.plane, caller, headers, {"model": "small"}),
            own.open_own_child(node.plane, caller, headers, {"tokens": 1}),
            own.close_own(node.plane, caller, headers, None),
        ):
            assert await refused(asked) is Code.REQUEST_MALFORMED
    assert await node.reports.sessions(key_id=None, state=None, limit=10) == []


async def test_tokens_are_nowhere_in_the_books(tmp_path) -> None:
    async with opening(tmp_path) as node:
        child = await child_of(node)
        await call_in(node, child)
    files = [path.read_bytes() for path in (tmp_path / "var").iterdir() if path.is_file()]
    assert not any(child["token"][8:].encode() in content for content in files)


@pytest.mark.parametrize("state", [SessionState.PAUSED, SessionState.STOPPED])
@pytest.mark.parametrize("held", ["root", "child"])
async def test_rule_16_stop_and_pause_act_on_the_subtree_and_only_on_it(
    node: Opened, state: SessionState, held: str
) -> None:
    await node.chat(ALICE)
    root = await node.session_id("run")
    child, sibling = await child_of(node), await child_of(node)
    grandchild = await child_of(node, token=child["token"])
    target = root if held == "root" else child["session"]
    await set_state(node.plane, target, state, "look at it", "admin:eve")
    code = f"session_{state.value}"
    assert code_of(await node.chat(ALICE)) == (code if held == "root" else "ok")
    assert code_of(await call_in(node, sibling)) == (code if held == "root" else "ok")
    for each in (child, grandchild):
        reply = await call_in(node, each)
        assert code_of(reply) == code
        assert "look at it" in reply.json()["error"]["message"]
    assert await refused(child_of(node, token=grandchild["token"])) is Code(code)
    await set_state(node.plane, target, SessionState.OPEN, "", "admin:eve")
    assert {code_of(await call_in(node, each)) for each in (child, sibling, grandchild)} == {"ok"}


async def test_rule_16_a_tree_is_held_over_a_restart(tmp_path) -> None:
    async with opening(tmp_path) as node:
        await node.chat(ALICE)
        root = await node.session_id("run")
        child = await child_of(node)
        grandchild = await child_of(node, token=child["token"], requests=3)
        assert code_of(await call_in(node, grandchild)) == "ok"
        await set_state(node.plane, root, SessionState.PAUSED, "night", "admin")
    async with opening(tmp_path) as node:
        assert code_of(await call_in(node, grandchild)) == "session_paused"
        await set_state(node.plane, root, SessionState.OPEN, "", "admin")
        assert code_of(await call_in(node, grandchild)) == "ok"
        assert (await spent(node, "child-part-requests", grandchild["session"])) == (2, 0)
        totals = {s: await spent(node, "session-tokens", s) for s in (root, child["session"], grandchild["session"])}
        assert totals[child["session"]] == totals[grandchild["session"]]
        assert totals[root][0] > totals[child["session"]][0] > 0
        assert code_of(await call_in(node, grandchild)) == "ok"
        assert code_of(await call_in(node, grandchild)) == "session_budget_exhausted"
        assert await node.reports.recount() == []


async def test_rule_16_closing_frees_only_what_calls_hold_and_is_for_good(node: Opened) -> None:
    await node.chat(ALICE)
    root = await node.session_id("run")
    child = await child_of(node)
    grandchild = await child_of(node, token=child["token"])
    await call_in(node, grandchild)
    before = await spent(node, "session-tokens", root)
    closed = await own.close_own(node.plane, node.caller("alice"), {"x-comptroller-session": child["token"]}, None)
    assert sorted(closed["closed"]) == sorted([child["session"], grandchild["session"]])
    assert await spent(node, "session-tokens", root) == before
    assert {code_of(await call_in(node, each)) for each in (child, grandchild)} == {"session_expired"}
    assert await refused(child_of(node, token=child["token"])) is Code.SESSION_EXPIRED
    assert code_of(await node.chat(ALICE)) == "ok"


async def test_a_closed_root_takes_its_children_along_and_comes_back_without_them(node: Opened) -> None:
    await node.chat(ALICE)
    child = await child_of(node)
    root = await node.session_id("run")
    await close_session(node.plane, root, "enough", "admin")
    assert code_of(await call_in(node, child)) == "session_expired"
    assert code_of(await node.chat(ALICE)) == "ok", "its client came back"
    assert await node.session_id("run") == root
    assert code_of(await call_in(node, child)) == "session_expired"


async def test_an_agent_closes_nothing_but_its_own(node: Opened) -> None:
    _, searcher = await node.desk.create(NewKey("s1", agent="searcher"), "admin")
    await node.chat(ALICE)
    root = await node.session_id("run")
    child, sibling = await child_of(node, tokens=500, agent="searcher"), await child_of(node)
    sub = node.caller("s1")
    assert searcher
    let_in = {"x-comptroller-session": child["token"]}
    for other in (root, "run", sibling["session"]):
        assert await refused(own.close_own(node.plane, sub, let_in, other)) is Code.ROUTE_UNKNOWN
        assert await refused(own.close_own(node.plane, node.caller("bob"), {}, other)) is Code.ROUTE_UNKNOWN
        assert await refused(own.close_own(node.plane, node.caller("alice"), let_in, other)) is Code.ROUTE_UNKNOWN
    assert (await own.close_own(node.plane, sub, let_in, child["session"]))["closed"] == [child["session"]]
    own_child = await own.close_own(node.plane, node.caller("alice"), {}, sibling["session"])
    assert own_child["closed"] == [sibling["session"]]


@pytest.mark.parametrize("state", [SessionState.PAUSED, SessionState.STOPPED])
async def test_closing_is_no_way_out_of_a_pause(node: Opened, state: SessionState) -> None:
    await node.chat(ALICE)
    child = await child_of(node)
    await set_state(node.plane, await node.session_id("run"), state, "look", "admin")
    code = Code(f"session_{state.value}")
    for session in ("run", child["token"]):
        headers = {"x-comptroller-session": session}
        assert await refused(own.close_own(node.plane, node.caller("alice"), headers, None)) is code
    assert code_of(await node.chat(ALICE)) == code.value


async def test_depth_is_limited(tmp_path) -> None:
    async with opening(tmp_path, sessions={"max_depth": 2}) as node:
        child = await child_of(node)
        grandchild = await child_of(node, token=child["token"])
        assert (child["depth"], grandchild["depth"]) == (1, 2)
        assert await refused(child_of(node, token=grandchild["token"])) is Code.SESSION_LIMIT
    async with opening(tmp_path, sessions={"max_depth": 0}) as node:
        assert await refused(child_of(node)) is Code.SESSION_LIMIT


async def test_open_children_are_limited_at_any_concurrency_and_over_a_restart(tmp_path) -> None:
    async with opening(tmp_path, sessions={"max_children": 3}) as node:
        await node.chat(ALICE)
        found = await asyncio.gather(*(child_of(node) for _ in range(12)), return_exceptions=True)
        opened = [child for child in found if isinstance(child, dict)]
        denied = [each.denial.code for each in found if isinstance(each, Refused)]
        assert (len(opened), denied) == (3, [Code.SESSION_LIMIT] * 9)
    async with opening(tmp_path, sessions={"max_children": 3}) as node:
        assert await refused(child_of(node)) is Code.SESSION_LIMIT
        await own.close_own(node.plane, node.caller("alice"), {}, opened[0]["session"])
        await child_of(node)
        assert await refused(child_of(node)) is Code.SESSION_LIMIT
        await set_state(node.plane, opened[1]["session"], SessionState.PAUSED, "look", "admin")
        assert await refused(child_of(node)) is Code.SESSION_LIMIT, "a paused child is an open one"
        rows = await node.reports.sessions(key_id=None, state=None, limit=20)
        root = next(row for row in rows if row.session.mark.client_id == "run")
        assert root.children == 4


async def test_children_count_as_new_sessions_of_their_opener(tmp_path) -> None:
    async with opening(tmp_path, sessions={"max_new_per_hour": 3}) as node:
        await child_of(node)  # and the session that it is a child of
        await child_of(node)
        assert await refused(child_of(node)) is Code.SESSION_LIMIT
        assert code_of(await node.chat(ALICE, session="another")) == "session_limit"
        assert code_of(await node.chat(BOB, session="another")) == "ok"
        view = counters(node)["sessions.max_new_per_hour", "agent:reviewer"]
        assert (view.spent, view.held) == (3, 0)
    async with opening(tmp_path, sessions={"max_new_per_hour": 3}) as node:
        assert await refused(child_of(node)) is Code.SESSION_LIMIT


async def test_a_child_that_cannot_be_written_does_not_exist(node: Opened) -> None:
    await node.chat(ALICE)
    root = await node.plane.sessions.by_id(await node.session_id("run"))
    assert root is not None
    real = node.plane.books.commit

    async def full(*entries: object) -> None:
        raise BooksUnavailable("the disk is full")

    node.plane.books.commit = full  # type: ignore[method-assign]
    assert await refused(child_of(node)) is Code.LEDGER_UNAVAILABLE
    node.plane.books.commit = real  # type: ignore[method-assign]
    assert root.children == {}
    assert counters(node)["sessions.max_new_per_hour", "agent:reviewer"].spent == 1
    assert root.in_flight == 0
    assert (await child_of(node))["depth"] == 1


async def test_a_child_ends_with_its_parents_run_and_idles_by_itself(tmp_path) -> None:
    async with opening(tmp_path, sessions={"wall_time": "2s", "idle_timeout": "400ms", "max_children": 1}) as node:
        await node.chat(ALICE)
        child = await child_of(node)
        assert code_of(await call_in(node, child)) == "ok"
        await asyncio.sleep(0.5)
        assert code_of(await call_in(node, child)) == "ok", "there is room, so it goes on"
        await asyncio.sleep(0.5)
        other = await child_of(node)
        assert code_of(await call_in(node, child)) == "session_limit", "its place was taken while it idled"
        assert code_of(await call_in(node, other)) == "ok"
        await asyncio.sleep(1.2)
        assert code_of(await call_in(node, child)) == "session_expired"
        assert await refused(child_of(node, token=child["token"])) is Code.SESSION_EXPIRED


async def test_a_child_at_work_keeps_its_parent_awake(tmp_path) -> None:
    async with opening(tmp_path, sessions={"idle_timeout": "600ms"}) as node:
        body = {"model": "small", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 20}
        sent = {"authorization": f"Bearer {ALICE}"}
        first = await node.client.post("/v1/chat/completions", json=body, headers=sent)
        child = await own.open_own_child(node.plane, node.caller("alice"), {}, {"tokens": 10_000})
        assert child["parent"] == first.headers["x-comptroller-session"]
        for number in range(4):
            await asyncio.sleep(0.25)
            assert code_of(await call_in(node, child, text=f"{number}")) == "ok"
        again = await node.client.post("/v1/chat/completions", json=body, headers=sent)
        assert again.headers["x-comptroller-session"] == child["parent"], "implicit, and yet not started afresh"
        node.plane.sessions.sweep(node.plane.catalog.sessions, node.plane.clock.now_us() + 10**9)
        assert node.plane.sessions.counts()["sessions"] <= 1
        node.plane.sessions.sweep(node.plane.catalog.sessions, node.plane.clock.now_us() + 10**9)
        assert node.plane.sessions.counts()["sessions"] == 0
        assert code_of(await call_in(node, child)) == "ok", "found again in the books, with its parent"


POLICY_OF_DEPTH = """\
p, role:everyone, small, *, model:invoke, , allow
p, role:everyone, large, *, model:invoke, session.depth == 0, allow
p, role:everyone, *, *, model:invoke, session.depth > 1 and session.parent_kind == 'child', deny
"""


async def test_conditions_see_depth_and_parent(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.management.opening.POLICY", POLICY_OF_DEPTH)
    async with opening(tmp_path) as node:
        assert code_of(await node.chat(ALICE, model="large")) == "ok"
        child = await child_of(node)
        grandchild = await child_of(node, token=child["token"])
        assert code_of(await call_in(node, child, model="large")) == "model_denied"
        assert code_of(await call_in(node, child, model="small")) == "ok"
        assert code_of(await call_in(node, grandchild, model="small")) == "model_denied"


async def test_lists_show_the_tree(node: Opened) -> None:
    await node.chat(ALICE)
    root = await node.session_id("run")
    child = await child_of(node)
    grandchild = await child_of(node, token=child["token"])
    await call_in(node, grandchild)
    rows = {row["id"]: row for row in await list_sessions(node.plane, node.reports, key=None, state=None, limit=10)}
    shown = [(rows[s]["parent"], rows[s]["depth"], rows[s]["children"]) for s in (root, child["session"])]
    assert shown == [(None, 0, 1), (root, 1, 1)]
    assert (rows[grandchild["session"]]["parent"], rows[grandchild["session"]]["depth"]) == (child["session"], 2)
    tree = [rows[s]["tree_tokens"] for s in (root, child["session"], grandchild["session"])]
    own_tokens = [
        rows[s]["input_tokens"] + rows[s]["output_tokens"] for s in (root, child["session"], grandchild["session"])
    ]
    assert tree == [sum(own_tokens), sum(own_tokens[1:]), own_tokens[2]]
    assert own_tokens[1] == 0 < own_tokens[2]
    detail = await show_session(node.plane, node.reports, root)
    assert [(each["id"], each["depth"]) for each in detail["descendants"]] == [
        (child["session"], 1),
        (grandchild["session"], 2),
    ]


async def test_a_sub_agent_of_another_key_is_told_of_its_child_only(node: Opened) -> None:
    await node.desk.create(NewKey("s1", agent="searcher"), "admin")
    await node.chat(ALICE)
    child = await child_of(node, tokens=500, agent="searcher")
    headers = {"x-comptroller-session": child["token"]}
    found = await quota.status(node.plane, node.caller("s1"), headers, None)
    scopes = {limit["scope"] for limit in found["sessions"][0]["limits"]}
    assert scopes == {f"session:{child['session']}"}
    found = await quota.status(node.plane, node.caller("alice"), headers, None)
    scopes = {limit["scope"] for limit in found["sessions"][0]["limits"]}
    assert scopes == {f"session:{child['session']}", f"session:{child['parent']}"}


async def test_history_is_that_of_the_own_key_only(node: Opened) -> None:
    used = [(await node.chat(ALICE)).json()["usage"]["total_tokens"] for _ in range(3)]
    await node.chat(ALICE, model="nothing")
    await node.chat(BOB)
    for by in ("hour", "day"):
        found = await own.history(node.plane, node.reports, node.caller("alice"), by, None)
        assert sum(row["input_tokens"] + row["output_tokens"] for row in found["rows"]) == sum(used)
        assert sum(row["calls"] for row in found["rows"]) == 3
        assert f"{sum(used)} tokens" in found["summary"]
        theirs = await own.history(node.plane, node.reports, node.caller("bob"), by, 400)
        assert sum(row["calls"] for row in theirs["rows"]) == 1
    _, fresh = await node.desk.create(NewKey("fresh"), "admin")
    assert fresh
    assert (await own.history(node.plane, node.reports, node.caller("fresh"), "day", 1))["rows"] == []


async def test_many_children_race_for_their_parents_last_room(tmp_path) -> None:
    """Sixteen calls at a time in eight children of two levels: never more than the root has, and not less than fits."""
    limits = [{"name": "session-tokens", "each": "session", "tokens": 700}]
    async with opening(tmp_path, limits=limits, sessions={"max_children": 4, "max_new_per_hour": 99}) as node:
        first = [await child_of(node, "race", tokens=600) for _ in range(4)]
        second = [await child_of(node, token=child["token"], tokens=400) for child in first]
        tree = [first[0]["parent"], *(child["session"] for child in (*first, *second))]

        async def hammer(child: dict[str, Any]) -> list[str]:
            codes: list[str] = []
            for number in range(8):
                codes.append(code_of(await call_in(node, child, text=f"{child['session']} {number}")))
                views = counters(node)
                for session in tree:
                    for name in ("session-tokens", "child-part-tokens"):
                        if (view := views.get((name, f"session:{session}"))) is not None:
                            assert view.spent + view.held <= view.limit, (name, session)
            return codes

        seen = [code for codes in await asyncio.gather(*map(hammer, [*first, *second] * 2)) for code in codes]
        assert set(seen) <= {"ok", "session_budget_exhausted", "budget_held"}
        await node.application.node.books.totals([])
        rows = {row.session.id: row for row in await node.reports.sessions(key_id=None, state=None, limit=100)}
        for session in tree:
            row = rows.get(session)
            if row is None:
                continue
            booked = row.posted.plus(row.below)
            assert await spent(node, "session-tokens", session) == (booked.input_tokens + booked.output_tokens, 0)
        root = await spent(node, "session-tokens", tree[0])
        assert 700 - 2 * CALL_TOKENS - 60 <= root[0] <= 700, "the room was used"
        assert seen.count("ok") == sum(row.posted.requests for row in rows.values())
        assert await node.reports.recount() == []
