"""Hot reload: what is broken changes nothing and says where; what is right takes effect within a second or so."""

import re
import signal
import time

import pytest

from tests.support.clients import Counted, ask, sdk
from tests.support.gateway import OPEN_POLICY, GatewayProcess, eventually

DENY_ALICE = OPEN_POLICY.replace("# rows: 3", "p, user:bob, small, *, model:invoke, , deny\n# rows: 4")

BROKEN_POLICIES = {
    "an unknown effect": "p, role:everyone, *, *, model:invoke, , alow\n",
    "too few fields": "p, role:everyone, *, allow\n",
    "a condition that does not parse": 'p, role:everyone, *, *, model:invoke, "user.groups ==", allow\n',
    "an unknown attribute": "p, role:everyone, *, *, model:invoke, user.shoe_size == 43, allow\n",
    "an unknown action": "p, role:everyone, *, *, model:destroy, , allow\n",
    "an untyped subject": "p, everyone, *, *, model:invoke, , allow\n",
    "no known line": "x, y, z\n",
}
BROKEN_CONFIGS = {
    "no YAML": "server: [host: 127\n",
    "an unknown setting": "server: {hots: 127.0.0.1}\n",
    "a limit without a window": "limits:\n  - {name: a, each: user, usd: 5}\n",
    "a secret that is not set": "admin: {token: '${NOT_SET_ANYWHERE}'}\n",
    "a plain secret": "providers:\n  openai: {kind: openai, api_key: sk-live-0123456789abcdef0123456789abcdef}\n",
    "a model without a provider": "models: {m: {provider: nobody}}\n",
    "a part that is not built": "retention: {calls: 400d}\n",
}


def refused_where(gateway: GatewayProcess, count: int = 1) -> str:
    """What the log says about the newest refused reload; everything that is wrong is in one line."""
    return str(gateway.wait_for_log("reload refused", count=count)[-1]["findings"])


def works(gateway: GatewayProcess, key: str = "alice") -> bool:
    with sdk(gateway, key, max_retries=0) as client:
        return bool(client.chat.completions.create(**ask()).choices)


def test_a_broken_policy_while_running_changes_nothing_and_says_where(start, upstream):
    gateway = start()
    for number, (name, text) in enumerate(BROKEN_POLICIES.items(), start=1):
        gateway.policy_file.write_text(f"# {name}\n{text}\n# rows: 1\n")
        findings = refused_where(gateway, number)
        assert re.search(r"policies/10-test\.csv:\d+:\d+: ", findings), (name, findings)
        assert works(gateway)
    assert gateway.metric("comptroller_reload_ok") == 0
    gateway.policy_file.write_text(OPEN_POLICY)
    eventually(lambda: gateway.metric("comptroller_reload_ok") == 1, what="the reload of what is right")
    assert works(gateway)


def test_a_policy_that_breaks_its_own_tests_or_vanishes_is_refused(start):
    gateway = start()
    gateway.policy_file.write_text("p, user:bob, *, *, model:invoke, , allow\n\n# rows: 1\n")
    assert "tests.yaml" in refused_where(gateway)
    assert works(gateway)
    gateway.policy_file.unlink()
    gateway.wait_for_log("reload refused", count=2)
    assert works(gateway)


def test_a_cut_off_policy_file_is_noticed(start):
    gateway = start()
    gateway.policy_file.write_text(OPEN_POLICY[:60])
    assert "cut off" in refused_where(gateway)
    gateway.policy_file.write_text(OPEN_POLICY.replace("p, role:everyone, *, *, tool:call, , allow\n", ""))
    assert "the file holds 2 rows, not 3" in refused_where(gateway, 2)
    assert works(gateway)


def test_a_right_policy_takes_effect_within_about_a_second(start):
    gateway = start()
    assert works(gateway, "bob")
    gateway.policy_file.write_text(DENY_ALICE)
    started = time.monotonic()
    gateway.wait_for_log("reloaded")
    took_s = time.monotonic() - started
    with Counted(gateway, "bob") as counted:
        assert counted.refused(**ask()).code == "model_denied"
    assert works(gateway, "alice")
    assert took_s < 3, "half a second to notice, the load itself, a quarter of a second for the line to be written"


@pytest.mark.parametrize("name", BROKEN_CONFIGS)
def test_a_broken_config_is_refused_at_start_with_its_place(prepare, name):
    gateway = prepare()
    gateway.config_file.write_text(BROKEN_CONFIGS[name])
    ran = gateway.refused_start()
    assert re.search(r"comptroller\.yaml:\d+:\d+: ", ran.err), ran.err
    assert "sk-live" not in ran.err


def test_broken_configs_while_running_change_nothing_and_say_where(start):
    gateway = start()
    for number, (name, text) in enumerate(BROKEN_CONFIGS.items(), start=1):
        gateway.config_file.write_text(text)
        findings = refused_where(gateway, number)
        assert re.search(r"comptroller\.yaml:\d+:\d+: ", findings), (name, findings)
        assert "sk-live" not in findings
        assert works(gateway)
    gateway.config_file.unlink()
    gateway.wait_for_log("reload refused", count=len(BROKEN_CONFIGS) + 1)
    assert works(gateway)
    gateway.write_config(gateway.config)
    gateway.wait_for_log("reloaded")
    assert works(gateway)


@pytest.mark.parametrize("name", BROKEN_POLICIES)
def test_a_broken_policy_is_refused_at_start_with_its_place(prepare, name):
    gateway = prepare()
    gateway.policy_file.write_text(f"# {name}\n{BROKEN_POLICIES[name]}\n# rows: 1\n")
    ran = gateway.refused_start()
    assert re.search(r"policies/10-test\.csv:\d+:\d+: ", ran.err), ran.err


def test_rule_11_a_new_limit_counts_what_was_there_before_it(start):
    gateway = start()
    for _ in range(3):
        works(gateway)
    gateway.quiesce()
    limits = [{"name": "four", "user": "alice", "requests": 4, "window": "total"}]
    gateway.write_config({**gateway.config, "limits": limits})
    gateway.wait_for_log("reloaded")
    assert works(gateway)
    with Counted(gateway, "alice") as counted:
        refused = counted.refused(**ask())
    assert refused.machine["limit"]["spent"] == 4
    gateway.write_config({**gateway.config, "limits": [{**limits[0], "requests": 5}]})
    gateway.wait_for_log("reloaded", count=2)
    assert works(gateway)


def test_models_providers_and_declared_keys_follow_the_file(start, upstream):
    gateway = start()
    changed = {**gateway.config, "keys": gateway.config["keys"][:1]}
    changed["models"] = {**gateway.config["models"], "second": {**gateway.config["models"]["small"], "model": "mock-x"}}
    gateway.write_config(changed)
    gateway.wait_for_log("reloaded")
    with sdk(gateway) as client:
        assert {model.id for model in client.models.list()} == {"small", "second"}
        client.chat.completions.create(**ask(model="second"))
    assert upstream.log()[-1].model == "mock-x"
    with Counted(gateway, "bob") as counted:
        assert counted.refused(**ask()).code == "key_revoked"
    gateway.write_config(gateway.config)
    gateway.wait_for_log("reloaded", count=2)
    assert works(gateway, "bob")


def test_sighup_reloads_at_once(start):
    gateway = start()
    gateway.signal(signal.SIGHUP)
    gateway.wait_for_log("reloaded")
    assert works(gateway)


def test_keys_take_effect_at_the_next_call(start):
    gateway = start()
    made = gateway.cli("keys", "create", "--user", "carol", "--name", "carol", "--model", "small", "--json").json
    gateway.keys["carol"] = made["secret"]
    assert works(gateway, "carol")
    for command, code in (("disable", "key_disabled"), ("revoke", "key_revoked")):
        gateway.cli("keys", command, made["id"])
        with Counted(gateway, "carol") as counted:
            refused = counted.refused(**ask())
        assert (refused.code, refused.status, refused.requests) == (code, 401, 1)
        if command == "disable":
            gateway.cli("keys", "enable", made["id"])
            assert works(gateway, "carol")
    gateway.restart()
    with Counted(gateway, "carol") as counted:
        assert counted.refused(**ask()).code == "key_revoked"


def test_a_rotated_key_has_a_new_secret_and_the_old_one_is_unknown(start):
    gateway = start()
    made = gateway.cli("keys", "create", "--user", "carol", "--name", "carol", "--json").json
    gateway.keys["old"] = made["secret"]
    gateway.keys["new"] = gateway.cli("keys", "rotate", made["id"], "--json").json["secret"]
    assert works(gateway, "new")
    with Counted(gateway, "old") as counted:
        assert counted.refused(**ask()).code == "key_unknown"
