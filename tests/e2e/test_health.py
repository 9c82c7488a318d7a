"""Providers that fail, hang or refuse: who is asked instead, who is left alone, and what the books say of it."""

import json
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support.clients import Counted, ask, scripted, sdk
from tests.support.fixtures import UpstreamProcess
from tests.support.gateway import PRICE, GatewayProcess, eventually

pytestmark = pytest.mark.xdist_group("e2e-health")

KIND = {"kind": "openai_compatible", "api_key": "${PROVIDER_KEY}"}
LIMITS: list[dict[str, Any]] = [{"name": "all", "each": "user", "tokens": 1_000_000, "window": "total"}]
LOOPS = {"identical_requests": 1000, "errors_in_a_row": 1000}


def served(upstream: UpstreamProcess) -> Counter[str]:
    return Counter(json.loads(row.body)["model"] for row in upstream.log())


def model(*deployments: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"deployments": list(deployments), "price": PRICE, "max_output_tokens": 500, **fields}


def running(start: Any, upstream: UpstreamProcess, small: dict[str, Any], /, **sections: Any) -> GatewayProcess:
    provider = {**KIND, "base_url": upstream.base_url}
    sections = {"providers": {"main": provider, "spare": provider}, "limits": LIMITS, "loops": LOOPS, **sections}
    gateway: GatewayProcess = start(models={"small": small}, **sections)
    return gateway


def held(gateway: GatewayProcess) -> int:
    gateway.quiesce()
    return sum(row["held"] for row in gateway.cli("limits", "list", "--json").json)


def status(gateway: GatewayProcess) -> Any:
    return gateway.admin("GET", "/api/v1/status").json


MAIN, SPARE = {"provider": "main", "model": "mock-ok"}, {"provider": "spare", "model": "mock-other"}


@pytest.mark.parametrize(
    ("balance", "deployments", "expected"),
    [
        ("order", ({**MAIN, "priority": 1}, SPARE), {"mock-other": 8}),
        ("weight", ({**MAIN, "weight": 3}, SPARE), {"mock-ok": 6, "mock-other": 2}),
        ("least_loaded", (MAIN, SPARE), {"mock-ok": 8}),
        ("cheapest", (MAIN, SPARE), {"mock-other": 8}),
    ],
)
def test_calls_go_where_priority_and_balance_say(start, clean_upstream, balance, deployments, expected):
    rates = {"input_usd_per_mtok": 1, "output_usd_per_mtok": 1}
    prices = {"overrides": {"mock-ok": {**rates, "output_usd_per_mtok": 3}, "mock-other": rates}}
    small = model(*deployments, balance=balance)
    gateway = running(start, clean_upstream, {k: v for k, v in small.items() if k != "price"}, prices=prices)
    with sdk(gateway) as client:
        for _ in range(8):
            client.chat.completions.create(**ask())
            gateway.quiesce()
    assert served(clean_upstream) == expected
    by = {row["provider"]: row["calls"] for row in gateway.cli("usage", "--by", "provider", "--json").json}
    names = {"mock-ok": "main", "mock-other": "spare"}
    assert {provider: calls for provider, calls in by.items() if calls} == {names[m]: n for m, n in expected.items()}


def test_least_loaded_goes_round_a_deployment_that_is_busy(start, clean_upstream):
    gateway = running(start, clean_upstream, model(MAIN, SPARE, balance="least_loaded"))
    with sdk(gateway) as client, sdk(gateway, "bob") as other:
        busy = other.chat.completions.create(**ask(scripted(events=2000, pace_s=0.05)), stream=True)
        next(iter(busy))
        for _ in range(3):
            client.chat.completions.create(**ask())
            eventually(lambda: status(gateway)["calls_in_flight"] == 1, what="the booking")
        busy.close()
    assert served(clean_upstream) == {"mock-ok": 1, "mock-other": 3}
    eventually(lambda: all(not each["in_flight"] for each in status(gateway)["deployments"]), what="all at rest")


def test_a_deployment_that_fails_is_left_alone_until_one_call_finds_it_well(start, clean_upstream):
    breaker = {"failures": 3, "pause": "3s"}
    gateway = running(start, clean_upstream, model(MAIN), upstream={"breaker": breaker})
    clean_upstream.script(preset="mock-500", times=3)
    with Counted(gateway, "alice", max_retries=0) as counted:
        for _ in range(3):
            assert counted.refused(**ask()).status == 502
        opened_at = time.monotonic()
        alone = counted.refused(**ask())
        assert (alone.status, alone.code) == (502, "upstream_failed")
        assert "x-should-retry" not in alone.headers
        assert 1 <= float(alone.headers["retry-after"]) <= 3
        (shown,) = status(gateway)["deployments"]
        assert (shown["provider"], shown["state"], shown["opened"]) == ("main", "open", 1)
        assert gateway.metric("comptroller_upstream_open", provider="main", model="mock-ok") == 1
        assert gateway.metric("comptroller_upstream_failures_total", provider="main", model="mock-ok") == 3
        doctor = gateway.cli("doctor", "--json", check=False)
        assert "failed 3 times in a row" in doctor.out
        assert len(clean_upstream.log()) == 3, "nothing is sent to it"
        assert held(gateway) == 0

        def well() -> bool:
            try:
                counted.chat(**ask())
            except Exception:  # noqa: BLE001 - whatever it is, it is not well
                return False
            return True

        eventually(well, what="a probe")
    assert time.monotonic() - opened_at >= 2.9
    assert len(clean_upstream.log()) == 4
    assert status(gateway)["deployments"][0]["state"] == "closed"


def test_a_broken_deployment_is_skipped_for_the_next_one(start, clean_upstream):
    gateway = running(start, clean_upstream, model(MAIN, SPARE), upstream={"breaker": {"failures": 2, "pause": "60s"}})
    clean_upstream.script(model="mock-ok", preset="mock-503", headers=[])
    with sdk(gateway, max_retries=0) as client:
        for _ in range(5):
            client.chat.completions.create(**ask())
    assert served(clean_upstream) == {"mock-ok": 2, "mock-other": 5}
    assert len(gateway.settled()) == 5


def test_a_deployment_that_asks_for_a_pause_is_tried_after_the_others(start, clean_upstream):
    gateway = running(start, clean_upstream, model(MAIN, SPARE))
    clean_upstream.script(model="mock-ok", preset="mock-429", headers=[["retry-after", "30"]])
    with sdk(gateway, max_retries=0) as client:
        for _ in range(4):
            client.chat.completions.create(**ask())
    assert served(clean_upstream) == {"mock-ok": 1, "mock-other": 4}


def test_retries_are_a_share_of_the_calls(start, clean_upstream):
    tuned = {"breaker": {"failures": 0}, "retries": {"percent": 10}}
    gateway = running(start, clean_upstream, model(MAIN, SPARE), upstream=tuned)
    clean_upstream.script(preset="mock-500")
    with Counted(gateway, "alice", max_retries=0) as counted:
        for _ in range(12):
            assert counted.refused(**ask()).status == 502
    sent = served(clean_upstream)
    assert sent["mock-ok"] == 12
    assert 3 <= sent["mock-other"] <= 6, "three are free in each 10 to 20 s"
    assert gateway.metric("comptroller_upstream_retries_refused_total", provider="spare") == 12 - sent["mock-other"]
    assert held(gateway) == 0


@pytest.mark.parametrize("fault", ["rst_mid_stream", "hang_mid_stream"])
def test_nothing_is_sent_again_after_the_first_byte(start, clean_upstream, fault):
    timeouts = {"first_byte": "5s", "idle": "300ms"}
    gateway = running(start, clean_upstream, model(MAIN, SPARE), timeouts=timeouts)
    clean_upstream.script(model="mock-ok", events=20, fault=fault, fault_after=3)
    with sdk(gateway, max_retries=0) as client:
        stream = client.chat.completions.create(**ask(), stream=True)
        with pytest.raises(Exception, match="provider"):
            list(stream)
    assert served(clean_upstream) == {"mock-ok": 1}
    (row,) = gateway.settled()
    assert row["output_tokens"] > 0, "what was streamed is booked"
    assert held(gateway) == 0
    assert status(gateway)["deployments"][0]["failures_in_a_row"] == 1


@pytest.mark.parametrize(
    ("timeouts", "script", "stream", "phase", "booked"),
    [
        ({"first_byte": "300ms"}, {"fault": "hang_before_headers"}, False, "first_byte", False),
        ({"first_byte": "300ms"}, {"fault": "hang_before_headers"}, True, "first_byte", False),
        ({"idle": "300ms"}, {"events": 20, "fault": "hang_mid_stream", "fault_after": 3}, True, "idle", True),
        ({"idle": "300ms"}, {"events": 20, "fault": "hang_mid_stream", "fault_after": 1}, False, "idle", True),
        (
            {"connect": "1s", "first_byte": "1s", "idle": "1s", "total": "1s"},
            {"events": 2000, "pace_s": 0.02},
            True,
            "total",
            True,
        ),
    ],
    ids=["first byte", "first byte of a stream", "idle stream", "idle body", "total"],
)
def test_each_time_out_ends_the_call_and_its_hold(start, clean_upstream, timeouts, script, stream, phase, booked):
    gateway = running(start, clean_upstream, model(MAIN), timeouts=timeouts)
    clean_upstream.script(**script)
    with sdk(gateway, max_retries=0) as client, pytest.raises(Exception, match=phase):
        list(client.chat.completions.create(**ask(), stream=stream))
    assert held(gateway) == 0
    assert len(clean_upstream.log()) == 1
    assert len(gateway.settled()) == booked
    eventually(lambda: clean_upstream.stats()["in_flight"] == 0, what="the end of the upstream's work")


@pytest.fixture
def deaf() -> Iterator[str]:
    """A base URL where connections are never made: the line is full, so the kernel drops who comes next."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"


def test_a_connection_that_takes_too_long_leads_to_the_next_deployment_and_costs_nothing(start, clean_upstream, deaf):
    providers = {"main": {**KIND, "base_url": deaf}, "spare": {**KIND, "base_url": clean_upstream.base_url}}
    models = {"small": model(MAIN, SPARE), "alone": model(MAIN)}
    gateway = start(models=models, providers=providers, limits=LIMITS, loops=LOOPS, timeouts={"connect": "300ms"})
    with Counted(gateway, "alice", max_retries=0) as counted:
        counted.chat(**ask())
        refused = counted.refused(**ask(model="alone"))
    assert (refused.status, refused.code) == (504, "upstream_timeout")
    assert "connect" in refused.error["message"]
    assert served(clean_upstream) == {"mock-other": 1}
    assert len(gateway.settled()) == 1
    assert held(gateway) == 0


def keyed(upstream: UpstreamProcess, *names: str) -> dict[str, Any]:
    keys = [f"${{{name}}}" for name in names]
    return {"main": {"kind": "openai_compatible", "base_url": upstream.base_url, "api_keys": keys}}


def credentials(upstream: UpstreamProcess) -> list[str]:
    return [dict(row.headers)["authorization"].removeprefix("Bearer ") for row in upstream.log()]


SECRETS = {"KEY_A": "sk-first-credential", "KEY_B": "sk-second-credential", "KEY_C": "sk-third-credential"}


@pytest.mark.parametrize("refusal", ["mock-401", "mock-429"])
def test_credentials_take_turns_and_a_refused_one_is_skipped(start, clean_upstream, refusal):
    providers = keyed(clean_upstream, *SECRETS)
    gateway = running(start, clean_upstream, model(MAIN), providers=providers, variables=SECRETS)
    first, second, third = SECRETS.values()
    with sdk(gateway, max_retries=0) as client:
        for _ in range(3):
            client.chat.completions.create(**ask())
        assert credentials(clean_upstream) == [first, second, third]
        clean_upstream.script(preset=refusal, headers=[["retry-after", "60"]], times=1)
        for _ in range(3):
            client.chat.completions.create(**ask())
    assert credentials(clean_upstream)[3:] == [first, second, third, second]
    assert len(gateway.settled()) == 6
    (shown,) = status(gateway)["providers"]
    assert (shown["credentials"], shown["credentials_resting"]) == (3, 1)
    told = (
        gateway.output()
        + json.dumps(status(gateway))
        + gateway.cli("doctor", check=False).out
        + str(gateway.admin("GET", "/metrics").body)
    )
    assert not [secret for secret in SECRETS.values() if secret in told]


def test_a_new_credential_takes_effect_without_a_restart(start, clean_upstream, tmp_path):
    secret = tmp_path / "provider-key"
    secret.write_text("sk-old-credential\n")
    secret.chmod(0o600)
    provider = {"kind": "openai_compatible", "base_url": clean_upstream.base_url, "api_key": f"${{file:{secret}}}"}
    gateway = running(start, clean_upstream, model(MAIN), providers={"main": provider})
    with sdk(gateway) as client:
        client.chat.completions.create(**ask())
        revision = status(gateway)["revision"]
        secret.write_text("sk-new-credential\n")
        eventually(lambda: status(gateway)["revision"] > revision, what="the reload")
        client.chat.completions.create(**ask())
    assert credentials(clean_upstream) == ["sk-old-credential", "sk-new-credential"]
