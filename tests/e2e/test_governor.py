"""The governor of streams under contention, with false and late reports, and with limits that change while they run."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.clients import Answer, Counted, ask, crowd, scripted, sdk
from tests.support.fixtures import UpstreamProcess
from tests.support.gateway import ALICE, PRICE, GatewayProcess, eventually

pytestmark = pytest.mark.xdist_group("e2e-governor")

MODEL = {"provider": "mock", "price": PRICE, "max_output_tokens": 16_384}
ROOM = 6_000
LIMITS: list[dict[str, Any]] = [
    {"name": "room", "each": "session", "key": "many", "tokens": ROOM},
    {"name": "stopper", "each": "session", "model": "counted", "tokens": 1_500, "action": "pause"},
]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, upstream: UpstreamProcess) -> Iterator[GatewayProcess]:
    with GatewayProcess(
        tmp_path_factory.mktemp("governor"),
        upstream.base_url,
        keys=[ALICE, {"name": "many", "user": "many"}],
        limits=LIMITS,
        models={"small": {**MODEL, "model": "mock-ok"}, "counted": {**MODEL, "model": "mock-ok"}, "reports": MODEL},
        estimates={"slice_min": 64},
    ) as gateway:
        with sdk(gateway) as client:  # its tokens are counted: the tokenizer is loaded by then
            client.chat.completions.create(**ask(scripted(usage="missing")))
        gateway.quiesce()
        yield gateway


@pytest.fixture
def gateway(shared: GatewayProcess, clean_upstream: UpstreamProcess) -> GatewayProcess:
    return shared


def cut(answer: Answer) -> dict[str, Any]:
    assert "[DONE]" not in answer.events
    error: dict[str, Any] = answer.chunks[-1]["error"]
    return error


def counter(gateway: GatewayProcess, session: str, name: str) -> dict[str, Any]:
    rows = gateway.admin("GET", f"/api/v1/limits?name={name}").json["limits"]
    found: dict[str, Any] = next(row for row in rows if row["scope"] == f"session:{session}")
    return found


def agree(gateway: GatewayProcess, session: str, name: str) -> int:
    """Nothing is held any more, and the counter says what the ledger says; how much that is."""
    gateway.quiesce()
    seen = counter(gateway, session, name)
    sql = "SELECT sum(input_tokens + output_tokens) AS n FROM calls WHERE session_id = ? AND state = 'settled'"
    booked = int(gateway.rows(sql, session)[0]["n"])
    assert (seen["held"], seen["spent"]) == (0, booked)
    return booked


async def test_rule_5_many_streams_of_one_session_share_its_room_to_the_end(gateway, upstream):
    async with crowd(gateway) as clients:
        body = ask(scripted(events=1_500, pace_s=0.001), stream=True, stream_options={"include_usage": True})
        answers = await asyncio.gather(*(clients.chat(body, key="many", session="shared") for _ in range(6)))
    admitted = [answer for answer in answers if answer.status == 200]
    assert len(admitted) >= 2, "they share it"
    ended = [answer for answer in admitted if "[DONE]" not in answer.events]
    assert ended, "there was not room for all"
    # The last: another stream gave room back just after this one had asked for more in vain.
    assert {cut(answer)["code"] for answer in ended} <= {"session_budget_exhausted", "budget_held", "budget_exhausted"}
    assert {answer.code for answer in answers if answer.status != 200} <= {"session_budget_exhausted", "budget_held"}
    booked = agree(gateway, admitted[0].headers["x-comptroller-session"], "room")
    # What crosses a hold is what came with one read from the upstream, counted.
    assert 0.5 * ROOM <= booked <= 1.05 * ROOM, booked
    seen = sum(row.usage["total_tokens"] for row in upstream.log() if row.usage is not None)
    assert seen <= ROOM
    assert len({answer.call_id for answer in admitted}) == len(admitted)


async def test_rule_28_a_limit_that_pauses_ends_its_stream_and_all_others_of_the_session(gateway, upstream):
    async with crowd(gateway) as clients:
        silent = ask(scripted(events=50, fault="hang_mid_stream", fault_after=3), stream=True)
        other = asyncio.create_task(clients.chat(silent, session="paused"))
        await upstream.until(lambda stats: stats["in_flight"] == 1)
        endless = ask(scripted(fault="endless", pace_s=0.001), stream=True, model="counted")
        answer = await clients.chat(endless, session="paused")
        assert cut(answer)["code"] == "session_budget_exhausted"
        assert cut(await other)["code"] == "session_paused"
        refused = await clients.chat(ask("go on"), session="paused")
    assert (refused.status, refused.code) == (402, "session_paused")
    gateway.quiesce()
    session = answer.headers["x-comptroller-session"]
    (paused,) = [doc for doc in gateway.journal("session") if doc["subject"] == session and doc["action"] == "paused"]
    assert (paused["actor"], paused["reason"]) == ("limit", "limit stopper")


def event(body: Any) -> str:
    return f"data: {body if isinstance(body, str) else json.dumps(body)}\n\n"


WORD = event({"choices": [{"index": 0, "delta": {"content": "word "}}]})
FINISH = event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
END = event("[DONE]")


def report(output: int) -> str:
    return event({"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": output}})


REPORTS = {
    "after the finish, and no end": ([WORD, WORD, FINISH, report(7)], (7, None)),
    "after the end": ([WORD, WORD, FINISH, END, report(7)], (7, None)),
    "twice": ([WORD, report(3), WORD, FINISH, report(7), END], (7, None)),
    "twice after the finish": ([WORD, FINISH, report(7), report(7), END], (7, None)),
    "never": ([WORD, WORD, FINISH, END], (2, "no_usage")),
    "before the last word only": ([WORD, report(1), WORD, FINISH, END], (2, "no_usage")),
}


@pytest.mark.parametrize("when", REPORTS)
async def test_usage_that_comes_late_or_twice_or_never_is_booked_once(gateway, upstream, when):
    raw, (output, estimated) = REPORTS[when]
    upstream.script(model="reports", raw=raw)
    async with crowd(gateway) as clients:
        answer = await clients.chat(ask(stream=True, model="reports", max_tokens=100))
    assert answer.text == "word " * raw.count(WORD)
    row = gateway.call(answer.call_id)
    assert (row["outcome"], row["estimated"]) == ("ok", estimated)
    assert row["output_tokens"] == output if estimated is None else row["output_tokens"] >= output
    assert len([doc for doc in gateway.journal("settled") if doc["subject"] == answer.call_id]) == 1


async def test_a_limit_that_is_lowered_ends_streams_at_their_next_slice(start, upstream):
    gateway = start(
        limits=[{"name": "room", "each": "session", "tokens": 30_000}],
        models={"small": {**MODEL, "model": "mock-ok"}},
        estimates={"slice_min": 64},
    )
    async with crowd(gateway) as clients:
        body = ask(scripted(fault="endless", pace_s=0.004), stream=True)
        streams = [asyncio.create_task(clients.chat(body, session="long")) for _ in range(2)]
        await upstream.until(lambda stats: stats["in_flight"] == 2)
        lowered = {**gateway.config, "limits": [{"name": "room", "each": "session", "tokens": 100}]}
        gateway.write_config(lowered)
        await asyncio.to_thread(eventually, lambda: gateway.log("reloaded"), what="the reload")
        answers = await asyncio.gather(*streams)
    for answer in answers:
        assert cut(answer)["code"] == "session_budget_exhausted"
        assert cut(answer)["comptroller"]["limit"]["limit"] == 100
    booked = agree(gateway, answers[0].headers["x-comptroller-session"], "room")
    assert booked < 15_000
    with Counted(gateway, "alice", session="long") as counted:
        assert counted.refused(**ask("more")).code == "session_budget_exhausted"
