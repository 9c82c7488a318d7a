"""Denials as users of the openai SDK meet them: a final one after one request, a transient one cured by waiting."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.clients import Counted, Refused, ask, scripted
from tests.support.fixtures import UpstreamProcess
from tests.support.gateway import ALICE, OPEN_POLICY, PRICE, GatewayProcess

pytestmark = pytest.mark.xdist_group("e2e-denials")

DENY = """\
p, user:alice, secret-model, *, model:invoke, , deny
p, role:everyone, *, danger*, model:invoke, , deny

# rows: 5
"""
POLICY = OPEN_POLICY.replace("\n# rows: 3\n", DENY)
NAMES = (
    "spent",
    "sess",
    "rater",
    "parallel",
    "holder",
    "money",
    "huge",
    "narrow",
    "gone",
    "old",
    "observed",
    "warned",
    "flood",
)
LIMITS: list[dict[str, Any]] = [
    {"name": "three-calls", "key": "spent", "requests": 3, "window": "day"},
    {"name": "session-tokens", "each": "session", "key": "sess", "tokens": 400},
    {"name": "one-a-second", "key": "rater", "requests": 60, "window": "minute", "burst": 1},
    {"name": "one-at-once", "key": "parallel", "concurrent": 1},
    {"name": "small-room", "key": "holder", "output_tokens": 100, "window": "total"},
    {"name": "cents", "each": "user", "key": "money", "usd": 0.001, "window": "month"},
    {"name": "small", "key": "huge", "tokens": 50, "window": "total"},
    {"name": "watched", "key": "observed", "requests": 1, "window": "day", "mode": "observe"},
    {"name": "told", "key": "warned", "requests": 1, "window": "day", "action": "warn"},
]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, upstream: UpstreamProcess) -> Iterator[GatewayProcess]:
    keys = [{"name": name, "user": f"user-of-{name}"} for name in NAMES]
    keys[NAMES.index("narrow")] |= {"models": ["small"], "tools": ["lookup"]}
    keys[NAMES.index("flood")] |= {"models": ["small"]}
    keys[NAMES.index("gone")] |= {"enabled": False}
    keys[NAMES.index("old")] |= {"expires_at": "2024-02-29"}
    model = {"provider": "mock", "price": PRICE, "max_output_tokens": 4096}
    with GatewayProcess(
        tmp_path_factory.mktemp("denials"),
        upstream.base_url,
        keys=[ALICE, *keys],
        policy=POLICY,
        limits=LIMITS,
        loops={"identical_requests": 4, "identical_tool_calls": 4},
        timeouts={"connect": "1s", "first_byte": "500ms", "idle": "500ms", "total": "20s"},
        models={
            "small": {**model, "model": "mock-ok"},
            "slow": {**model, "model": "mock-slow"},
            "secret-model": model,
            "no-price": {"provider": "mock"},
            "hangs": {**model, "model": "mock-hang"},
            "html": {**model, "model": "mock-html"},
            "drops": {**model, "model": "mock-rst"},
            "poor": {**model, "model": "mock-quota"},
        },
    ) as gateway:
        yield gateway


@pytest.fixture
def gateway(shared: GatewayProcess, clean_upstream: UpstreamProcess) -> GatewayProcess:
    return shared


def check_final(refused: Refused, status: int, code: str) -> None:
    """One request, the words reach the caller, nothing invites to try again."""
    assert (refused.status, refused.code, refused.requests) == (status, code, 1)
    assert refused.headers["x-should-retry"] == "false"
    assert "retry-after" not in refused.headers
    assert refused.error["message"] in refused.shown
    assert len(refused.error["message"]) > 20
    assert "\n" not in refused.error["message"]
    assert refused.machine["code"] == code
    assert refused.machine["retry_after_s"] is None


def check_figures(refused: Refused, name: str, unit: str) -> dict[str, Any]:
    limit = refused.machine["limit"]
    assert (limit["name"], limit["unit"]) == (name, unit)
    assert limit["remaining"] == pytest.approx(max(0, limit["limit"] - limit["spent"] - limit["held"]))
    assert limit["asked"] > limit["remaining"]
    assert name in refused.error["message"]
    said = dict(part.split("=") for part in refused.headers["x-comptroller-remaining"].split(";"))
    assert (said["limit"], said["unit"], float(said["remaining"])) == (name, unit, limit["remaining"])
    return dict(limit)


def test_an_exhausted_budget_is_final_and_says_when_it_resets(gateway, upstream):
    with Counted(gateway, "spent") as counted:
        for n in range(3):
            counted.chat(**ask(f"call {n}"))
        refused = counted.refused(**ask("one too many"))
        check_final(refused, 402, "budget_exhausted")
        assert refused.error["type"] == "insufficient_quota"
        limit = check_figures(refused, "three-calls", "requests")
        assert (limit["limit"], limit["spent"], limit["held"], limit["asked"]) == (3, 3, 0, 1)
        assert limit["resets_at"].endswith("T00:00:00Z")
        assert limit["resets_at"] in refused.error["message"]
        stream = counted.refused(**ask("one too many", stream=True))
        check_final(stream, 402, "budget_exhausted")
    assert len(upstream.log()) == 3
    denied = gateway.rows("SELECT * FROM calls WHERE call_id = ?", refused.machine["call"])
    assert [(row["state"], row["outcome"], row["usd_micros"]) for row in denied] == [("denied", "budget_exhausted", 0)]


def test_rule_29_a_session_budget_is_final_and_its_session_alone_is_over(gateway):
    with Counted(gateway, "sess", session="a") as counted:
        counted.chat(**ask(scripted("first", usage={"prompt_tokens": 100, "completion_tokens": 290}), max_tokens=20))
        refused = counted.refused(**ask("second", max_tokens=20))
        check_final(refused, 402, "session_budget_exhausted")
        limit = check_figures(refused, "session-tokens", "tokens")
        assert (limit["limit"], limit["spent"], limit["held"]) == (400, 390, 0)
        assert limit["scope"].startswith("session:ses_")
    with Counted(gateway, "sess", session="b") as counted:
        assert counted.chat(**ask("second", max_tokens=20)).usage.completion_tokens == 5


def test_money_is_refused_in_dollars(gateway):
    with Counted(gateway, "money") as counted:
        counted.chat(**ask(scripted("first", usage={"prompt_tokens": 990, "completion_tokens": 0}), max_tokens=5))
        refused = counted.refused(**ask("second", max_tokens=50))
    check_final(refused, 402, "budget_exhausted")
    limit = check_figures(refused, "cents", "usd")
    assert (limit["limit"], limit["spent"]) == (0.001, 0.00099)
    assert limit["resets_at"][8:] == "01T00:00:00Z"


def test_rule_29_an_ask_larger_than_the_limit_itself_is_final(gateway, upstream):
    with Counted(gateway, "huge") as counted:
        refused = counted.refused(**ask("a b c d e f g h i j k l m n o p q r s t u v w x y z " * 20, max_tokens=1))
    check_final(refused, 402, "budget_exhausted")
    assert check_figures(refused, "small", "tokens")["spent"] == 0
    assert "smaller" in refused.error["message"]
    assert upstream.log() == []


@pytest.mark.parametrize(
    ("key", "body", "code"),
    [
        ("alice", {"model": "secret-model"}, "model_denied"),
        ("narrow", {"model": "slow"}, "model_denied"),
        ("alice", {"model": "never-heard-of"}, "model_unknown"),
        ("alice", {"tools": [{"type": "function", "function": {"name": "danger_rm"}}]}, "tool_denied"),
        ("alice", {"functions": [{"name": "danger_rm"}]}, "tool_denied"),
        ("narrow", {"tools": [{"type": "function", "function": {"name": "other"}}]}, "tool_denied"),
        ("alice", {"model": "no-price"}, "price_unknown"),
        ("alice", {"extra_body": {"web_search_options": {}}}, "field_unsupported"),
        ("alice", {"messages": "hello"}, "request_malformed"),
    ],
)
def test_what_is_not_allowed_is_400_after_one_request(gateway, upstream, key, body, code):
    with Counted(gateway, key) as counted:
        refused = counted.refused(**{**ask("may I?"), **body})
    check_final(refused, 400, code)
    assert upstream.log() == []
    if code == "tool_denied":
        assert "danger_rm" in refused.error["message"] or "other" in refused.error["message"]
        assert refused.error["param"] == "tools"
    if code in ("model_denied", "model_unknown"):
        assert "small" in refused.machine["alternatives"]
        assert "secret-model" not in (refused.machine["alternatives"] if key == "alice" else ())


@pytest.mark.parametrize(("key", "code"), [("gone", "key_disabled"), ("old", "key_expired"), ("nobody", "key_unknown")])
def test_a_key_that_is_no_good_is_401_after_one_request(gateway, upstream, key, code):
    with Counted(gateway, key) as counted:
        refused = counted.refused(**ask("let me in"))
    check_final(refused, 401, code)
    assert upstream.log() == []


def test_rule_31_an_upstream_without_money_is_final(gateway, upstream):
    with Counted(gateway, "alice") as counted:
        check_final(counted.refused(**ask("please", model="poor")), 402, "upstream_quota")
    assert len(upstream.log()) == 1


@pytest.mark.parametrize(
    ("model", "status", "code"),
    [("hangs", 504, "upstream_timeout"), ("html", 502, "upstream_invalid"), ("drops", 502, "upstream_failed")],
)
def test_an_upstream_that_fails_is_transient_and_costs_nothing_unless_it_worked(gateway, model, status, code):
    with Counted(gateway, "alice", max_retries=0) as counted:
        refused = counted.refused(**ask("are you there?", model=model))
    assert (refused.status, refused.code) == (status, code)
    assert "x-should-retry" not in refused.headers
    assert float(refused.headers["retry-after"]) >= 1
    row = gateway.call(refused.machine["call"])
    assert (row["state"], row["usd_micros"] == 0) == (("settled", False) if model == "html" else ("voided", True))


def test_the_sdk_gets_over_a_passing_failure_of_the_upstream(gateway, upstream):
    upstream.script(preset="mock-503", times=1)
    with Counted(gateway, "alice") as counted:
        assert counted.chat(**ask("once more")).usage.completion_tokens == 5
    assert counted.requests == 2


def test_rule_29_a_rate_is_transient_and_its_retry_after_is_true(gateway):
    with Counted(gateway, "rater", max_retries=0) as counted:
        counted.chat(**ask("first"))
        started = time.monotonic()
        refused = counted.refused(**ask("second"))
        assert (refused.status, refused.code) == (429, "rate_limited")
        assert "x-should-retry" not in refused.headers
        wait_s = refused.machine["retry_after_s"]
        assert 0 < wait_s <= 1
        assert int(refused.headers["retry-after"]) == 1
        assert int(refused.headers["retry-after-ms"]) == pytest.approx(wait_s * 1000, abs=1)
        time.sleep(max(0.0, started + wait_s + 0.05 - time.monotonic()))
        counted.chat(**ask("third"))
    with Counted(gateway, "rater") as counted:
        counted.chat(**ask("fourth"))
    assert counted.requests == 2, "the SDK waits as told and is let in"


def in_background(counted: Counted, **body: Any) -> tuple[threading.Thread, list[Any]]:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(counted.chat(**body)))
    thread.start()
    return thread, found


def test_calls_at_once_are_transient_and_the_sdk_gets_in_later(gateway, upstream):
    upstream.script(contains="long one", delay_s=0.4)
    with Counted(gateway, "parallel") as first, Counted(gateway, "parallel") as second:
        thread, found = in_background(first, **ask("long one"))
        upstream.wait_until(lambda stats: stats["in_flight"] == 1)
        assert second.chat(**ask("short one")).usage.completion_tokens == 5
        thread.join()
    assert second.requests == 2
    assert found[0].usage.completion_tokens == 5
    assert gateway.metric("comptroller_denials_total", code="concurrency_limited") == 1


def test_rule_30_room_that_calls_in_flight_hold_is_waited_for(gateway, upstream):
    upstream.script(contains="slow holder", delay_s=0.3)
    with Counted(gateway, "holder") as first, Counted(gateway, "holder") as second:
        thread, found = in_background(first, **ask("slow holder", max_tokens=90))
        upstream.wait_until(lambda stats: stats["in_flight"] == 1)
        assert second.chat(**ask("quick", max_tokens=60)).usage.completion_tokens == 5
        assert second.requests == 1, "the room came free within two seconds, so nobody was sent away"
        thread.join()
    assert found[0].usage.completion_tokens == 5


def test_rule_30_room_that_stays_held_is_transient_with_a_stated_estimate(gateway, upstream):
    upstream.script(contains="endless holder", pace_s=0.3, events=9)
    with Counted(gateway, "holder") as first, Counted(gateway, "holder", max_retries=0) as second:
        stream = first.chat(**ask("endless holder", max_tokens=70, stream=True))
        refused = second.refused(**ask("quick", max_tokens=60))
        stream.close()
    assert (refused.status, refused.code) == (429, "budget_held")
    limit = check_figures(refused, "small-room", "output_tokens")
    assert limit["held"] >= 70
    assert limit["spent"] + limit["asked"] <= limit["limit"]
    assert 1 <= float(refused.headers["retry-after"]) <= 10
    gateway.quiesce()


def test_rule_23_identical_requests_pause_the_session_after_one_request(gateway):
    with Counted(gateway, "alice", session="loops") as counted:
        for _ in range(3):
            counted.chat(**ask("again and again"))
        refused = counted.refused(**ask("again and again"))
        check_final(refused, 402, "loop_detected")
        check_final(counted.refused(**ask("something else")), 402, "session_paused")


def test_rule_28_watched_and_warned_limits_refuse_nothing(gateway):
    for key, limit in (("observed", "watched"), ("warned", "told")):
        with Counted(gateway, key) as counted:
            counted.chat(**ask("one"))
            raw = counted.client.chat.completions.with_raw_response.create(**ask("two"))
        assert limit in raw.headers["x-comptroller-warning"]


def test_rule_33_a_flood_of_denials_is_answered_the_same_and_summed(gateway):
    rows = "SELECT count(*) AS n FROM journal WHERE kind = 'denied'"
    before = gateway.rows(rows)[0]["n"]
    with Counted(gateway, "flood") as counted, ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: counted.refused(**ask("may I?", model="slow")).code, range(150)))
    assert set(found) == {"model_denied"}
    assert counted.requests == 150
    # Two minutes may be touched, each with 60 rows of its own.
    assert 60 <= gateway.rows(rows)[0]["n"] - before <= 121
