"""Clauses of the rules that no other story comes by: each is a promise of its own, over a gateway as it is shipped."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.clients import Answer, Counted, ask, parsed, raw, sdk
from tests.support.fixtures import UpstreamProcess
from tests.support.gateway import PRICE, GatewayProcess, eventually

pytestmark = pytest.mark.xdist_group("e2e-small-print")

MODEL = {"provider": "mock", "model": "mock-ok", "price": PRICE, "max_output_tokens": 50}
POLICY = """\
p, team:platform, *, *, model:invoke, , allow
p, user:files, *, *, model:invoke, , allow
p, user:free, *, *, model:invoke, , allow
p, user:rash, *, *, model:invoke, , allow
g, user:guest, team:platform

# rows: 5
"""
TESTS = """\
- as: {user: guest}
  model: small
  expect: allow
  because: a row gives it the rights of the team
"""
AUDIO = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
FILE = {"type": "file", "file": {"file_id": "file-1"}}
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, upstream: UpstreamProcess) -> Iterator[GatewayProcess]:
    with GatewayProcess(
        tmp_path_factory.mktemp("small-print"),
        upstream.base_url,
        keys=[
            {"name": "member", "user": "member", "team": "platform"},
            {"name": "guest", "user": "guest", "team": "support"},
            *({"name": name, "user": name} for name in ("files", "free", "rash")),
        ],
        policy=POLICY,
        policy_tests=TESTS,
        models={"small": MODEL, "seeing": {**MODEL, "image_tokens_max": 700}},
        limits=[
            {"name": "platform-day", "team": "platform", "requests": 2, "window": "day"},
            {"name": "files-day", "key": "files", "tokens": 100_000, "window": "day"},
            {"name": "rash-day", "key": "rash", "requests": 1, "window": "day", "action": "pause"},
        ],
    ) as gateway:
        yield gateway


@pytest.fixture
def gateway(shared: GatewayProcess, clean_upstream: UpstreamProcess) -> GatewayProcess:
    return shared


def with_parts(*parts: dict[str, Any], model: str = "small") -> dict[str, Any]:
    content = [{"type": "text", "text": "look"}, *parts]
    return {"model": model, "messages": [{"role": "user", "content": content}], "max_tokens": 20}


def held_by(gateway: GatewayProcess, call_id: str) -> dict[str, Any]:
    (found,) = [doc["held"] for doc in gateway.journal("held") if doc["subject"] == call_id]
    return dict(found)


def called(gateway: GatewayProcess, key: str, body: dict[str, Any]) -> str:
    """The id of an answered call."""
    with sdk(gateway, key) as client:
        return client.chat.completions.with_raw_response.create(**body).headers["x-comptroller-call"]


@pytest.mark.parametrize(("part", "what"), [(AUDIO, "audio"), (FILE, "files")])
def test_rule_3_what_cannot_be_bounded_is_refused_where_a_budget_binds(gateway, upstream, part, what):
    with Counted(gateway, "files") as counted:
        refused = counted.refused(**with_parts(part))
    assert (refused.status, refused.code, refused.requests) == (400, "field_unsupported", 1)
    assert what.removesuffix("s") in refused.error["message"]
    assert upstream.log() == []
    called(gateway, "free", with_parts(part))
    assert len(upstream.log()) == 1


def test_rule_3_an_image_holds_what_its_model_says(gateway):
    plain = held_by(gateway, called(gateway, "files", with_parts(model="seeing")))
    two = held_by(gateway, called(gateway, "files", with_parts(IMAGE, IMAGE, model="seeing")))
    assert two["input_tokens"] - plain["input_tokens"] >= 2 * 700
    assert two["output_tokens"] == plain["output_tokens"]


def test_rule_27_limits_go_by_the_keys_own_team_and_rows_give_rights_only(gateway):
    """The guest has the rights of the team, but neither spends its budget nor is bound by it."""
    for _ in range(3):
        called(gateway, "guest", ask())
    for _ in range(2):
        called(gateway, "member", ask())
    with Counted(gateway, "member") as counted:
        assert counted.refused(**ask()).code == "budget_exhausted"
    called(gateway, "guest", ask())
    gateway.quiesce()
    rows = gateway.cli("usage", "--by", "user,team", "--json").json
    calls = {(row["user"], row["team"]): row["calls"] for row in rows}
    assert (calls["guest", "support"], calls["member", "platform"]) == (4, 2)
    assert ("guest", "platform") not in calls


def test_rule_28_a_limit_may_pause_the_session_that_runs_into_it(gateway, upstream):
    with Counted(gateway, "rash", session="rash") as counted:
        counted.chat(**ask())
        first, second = counted.refused(**ask()), counted.refused(**ask())
    assert (first.status, first.code, first.machine["limit"]["name"]) == (402, "budget_exhausted", "rash-day")
    assert (second.status, second.code) == (402, "session_paused")
    assert len(upstream.log()) == 1
    (session,) = gateway.cli("sessions", "list", "--key", "rash", "--json").json
    assert session["state"] == "paused"
    assert "rash-day" in session["reason"]


def test_each_call_is_one_line_of_the_log(gateway):
    with sdk(gateway, "free", session="logged") as client:
        answered = client.chat.completions.with_raw_response.create(**ask()).headers["x-comptroller-call"]
        stream = client.chat.completions.with_raw_response.create(**ask(stream=True))
        for _ in stream.parse():
            pass
        streamed = stream.headers["x-comptroller-call"]
    with Counted(gateway, "free") as counted:
        denied = counted.refused(**ask(model="gone")).machine["call"]
    ids = (answered, streamed, denied)

    def lines() -> list[dict[str, Any]] | None:
        found = [row for row in gateway.log("call") if row["call_id"] in ids]
        return found if {row["call_id"] for row in found} == set(ids) else None

    found = {row["call_id"]: row for row in eventually(lines, what="a line for each call")}
    assert len(lines() or ()) == 3
    for call_id in (answered, streamed):
        line = found[call_id]
        assert (line["kind"], line["model"], line["provider"], line["outcome"]) == ("chat", "small", "mock", "ok")
        assert line["cost_usd_micros"] == gateway.call(call_id)["usd_micros"] > 0
        assert line["key_id"].startswith("key_")
    assert (found[denied]["outcome"], found[denied]["code"]) == ("denied", "model_unknown")


@pytest.mark.parametrize("fast_path", [True, False])
def test_rule_35_metrics_need_the_admin_token_off_loopback(prepare, fast_path):
    prepared = prepare(fast_path=fast_path)
    prepared.config["server"]["host"] = "0.0.0.0"
    with prepared as gateway:
        assert got(gateway, "/metrics").status == 401
        assert gateway.status_of("/metrics") == 200
        assert (got(gateway, "/healthz").status, got(gateway, "/readyz").status) == (200, 200)


def test_metrics_on_loopback_name_nobody(gateway):
    called(gateway, "free", {**ask(), "user": "canary-end-user"})
    answer = got(gateway, "/metrics")
    text = answer.body.decode()
    assert answer.status == 200
    names = {line.split("{")[0].split(" ")[0] for line in text.splitlines() if line and not line.startswith("#")}
    assert names
    assert {name for name in names if not name.startswith("comptroller_")} == set()
    for word in ("free", "member", "canary-end-user", "key_", "ses_", "call_"):
        assert f'="{word}' not in text


def test_rule_33_calls_without_a_good_key_are_one_row_a_minute_reason_and_network(start, upstream):
    gateway = start()
    for _ in range(20):
        assert got(gateway, "/v1/models", "authorization: Bearer wrong\r\n").status == 401
    assert got(gateway, "/v1/models").status == 401
    gateway.terminate()
    rows = gateway.journal("refusals")
    assert {(row["reason"], row["source"]) for row in rows} == {
        ("key_unknown", "127.0.0.0/24"),
        ("key_missing", "127.0.0.0/24"),
    }
    assert sum(row["count"] for row in rows) == 21
    assert len(rows) <= 4, "two minutes may be touched"
    assert gateway.rows("SELECT * FROM calls") == []
    assert upstream.log() == []


def got(gateway: GatewayProcess, path: str, headers: str = "") -> Answer:
    """A request with no other headers than these."""
    request = f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{gateway.port}\r\n{headers}connection: close\r\n\r\n"
    return parsed(raw(gateway, request.encode()))
