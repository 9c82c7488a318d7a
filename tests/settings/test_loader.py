"""Faults of values and between them, each at its place; what is a warning only; where values come from."""

import json
import traceback
from pathlib import Path

import pytest

from gateway.settings import SettingsError, load
from gateway.settings.loader import DEFAULT
from gateway.settings.sample import sample_yaml
from tests.settings.samples import ENVIRONMENT, PATH, faults, hints, read

SECRET = "a secret must not stand in the configuration"
OPENAI = 'providers: {openai: {kind: openai, api_key: "${OPENAI_API_KEY}"}}\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("limts: []", ["1:1 limts: `limts` is not a setting here"]),
        ("server: [1]", ["1:9 server: must be a mapping (`key: value`)"]),
        ("limits: {a: 1}", ["1:9 limits: must be a list"]),
        ("policy: {files: policies/}", ["1:17 policy.files: must be a list"]),
        ("server: {port: 65536}", ["1:16 server.port: must be at most 65535"]),
        ("server: {port: [1]}", ["1:16 server.port: must be a single value"]),
        ("server: {server: gunicorn}", ["1:18 server.server: the value `gunicorn` is not possible here"]),
        ("server: {public_url: ftp://x}", ["1:22 server.public_url: is not an http:// or https:// address"]),
        (
            "server: {workers: 4}",
            ["1:19 server.workers: serving by several processes is not built yet (planned); write `1`"],
        ),
        ("storage: {url: mysql://x}", ["1:16 storage.url: is not the address of a store"]),
        ("storage: {url: 'sqlite:///:memory:'}", ["1:16 storage.url: is not the address of a store"]),
        (
            "storage: {url: postgresql://x}",
            ["1:16 storage.url: Postgres is not built yet (planned); write `sqlite:///var/comptroller.db`"],
        ),
        ("counters: {url: redis://x}", ["1:17 counters.url: Redis is not built yet (planned); write `memory://`"]),
        ("policy: {timezone: Mars/X}", ["1:20 policy.timezone: is not a time zone"]),
        ("sessions: {idle_timeout: 30}", ["1:26 sessions.idle_timeout: a duration needs a number and a unit"]),
        ("sessions: {idle_timeout_s: 30s}", ["1:12 sessions.idle_timeout_s: `idle_timeout_s` is not a setting here"]),
        (
            "sessions: {fingerprint: maybe}",
            ["1:25 sessions.fingerprint: must be `true` or `false`"],
        ),
        ("loops: {identical_requests: 1}", ["1:29 loops.identical_requests: must be at least 2, or `off`"]),
        ("timeouts: {connect: 1h}", ["1:21 timeouts.connect: is longer than `total`"]),
        ("admin: {oidc: {issuer: x}}", ["1:15 admin.oidc: `oidc` is not built yet (planned); remove it"]),
        ("retention: {calls: x}", ["1:12 retention: `retention` is not built yet (planned); remove it"]),
        ("teams: {a b: {}}", ["1:9 teams.a b: is not a name"]),
        ("teams: {'-': {}}", ["1:9 teams.-: is not a name"]),
        (
            "users: {a: {groups: x, labels: {l: [1]}}}",
            ["1:21 users.a.groups: must be a list", "1:36 users.a.labels.l: must be text"],
        ),
    ],
)
def test_faults_of_the_process_and_of_principals(text: str, expected: list[str]) -> None:
    assert faults(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("providers: {a: {kind: openai}}", ["1:13 providers.a.api_key: is missing"]),
        ("providers: {a: {kind: openai, api_key: none}}", ["1:40 providers.a.api_key: is missing"]),
        ("providers: {a: {kind: opnai}}", ["1:23 providers.a.kind: the value `opnai` is not possible here"]),
        (
            "providers: {a: {kind: openai_compatible}}",
            ["1:13 providers.a.api_key: is missing", "1:13 providers.a.base_url: is missing"],
        ),
        (
            "providers: {a: {kind: simulated, base_url: 'http://x', headers: {a: b}}}",
            [
                "1:44 providers.a.base_url: a simulated provider has none",
                "1:65 providers.a.headers: a simulated provider has none",
            ],
        ),
        ("providers: {a: {kind: bedrock}}", ["1:13 providers.a.region: is missing"]),
        (
            "providers: {a: {kind: bedrock, region: eu-central-1, access_key_id: '${PORT}'}}",
            ["1:69 providers.a.access_key_id: goes with `secret_access_key`"],
        ),
        ("providers: {a: {kind: simulated, region: x}}", ["1:42 providers.a.region: is only for `bedrock`"]),
        ("providers: {a: {kind: openai, api_key: '${EMPTY}'}}", ["1:40 providers.a.api_key: is missing"]),
        (
            "providers: {a: {kind: openai, api_key: '${PORT}', base_url: 'http://u:p@x'}}",
            ["1:61 providers.a.base_url: holds a user name or a password"],
        ),
        ("models: {m: {}}", ["1:13 models.m: needs `provider` or `deployments`"]),
        (OPENAI + "models: {m: {provider: opnai}}", ["2:24 models.m.provider: there is no provider `opnai`"]),
        (
            OPENAI + "models: {m: {provider: openai, deployments: [{provider: openai}]}}",
            ["2:13 models.m: has both `provider` and `deployments`"],
        ),
        (
            OPENAI + "models: {m: {deployments: [{provider: x, mdel: y}]}}",
            [
                "2:39 models.m.deployments[0].provider: there is no provider `x`",
                "2:42 models.m.deployments[0].mdel: `mdel` is not a setting here",
            ],
        ),
        (
            OPENAI + "models: {m: {provider: openai, price: {input_usd_per_mtok: 0.1}}}",
            ["2:32 models.m.price.output_usd_per_mtok: is missing"],
        ),
        ("prices: {unknown: maybe}", ["1:19 prices.unknown: must be `deny` or `{estimate: {...}}`"]),
        ("prices: {unknown: {}}", ["1:19 prices.unknown: must be `deny` or `{estimate: {...}}`"]),
        (
            "prices: {overrides: {x: [&p {input_usd_per_mtok: 1, output_usd_per_mtok: 2}, *p]}}",
            ["1:25 prices.overrides.x: has two prices from the same day on"],
        ),
        (
            "mcp: {servers: {a__b: {transport: stdio, command: [x]}}}",
            ["1:17 mcp.servers.a__b: is not a name for a tool server"],
        ),
        (
            "mcp: {servers: {a: {transport: http, command: [x]}}}",
            ["1:17 mcp.servers.a.url: is missing", "1:47 mcp.servers.a.command: does not go with `transport: http`"],
        ),
        ("mcp: {servers: {a: {transport: stdio, command: []}}}", ["1:48 mcp.servers.a.command: is missing"]),
    ],
)
def test_faults_of_providers_models_prices_and_tool_servers(text: str, expected: list[str]) -> None:
    assert faults(text) == expected


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("providers: {a: {kind: openai, api_key: sk-123}}", "1:40 providers.a.api_key"),
        ("providers: {a: {kind: openai, api_key: '${NOPE:-sk-123}'}}", "1:40 providers.a.api_key"),
        ("providers: {a: {kind: openai, api_key: '${PORT:-sk-123}'}}", "1:40 providers.a.api_key"),
        ("providers: {a: {kind: openai, api_key: '${PORT:-${EMPTY:-sk-1}}'}}", "1:40 providers.a.api_key"),
        ("providers: {a: {kind: openai, api_key: $${PORT}}}", "1:40 providers.a.api_key"),
        (
            "providers: {a: {kind: openai, api_key: '${PORT}', headers: {X-Api-Key: abc}}}",
            "1:72 providers.a.headers.X-Api-Key",
        ),
        ("admin: {token: abc}", "1:16 admin.token"),
        ("admin: {token: none}", "1:16 admin.token"),
        ("keys: [{name: a, secret: cptr_sk_1}]", "1:26 keys[0].secret"),
        (
            "mcp: {servers: {a: {transport: http, url: 'http://x', auth: {bearer: abc}}}}",
            "1:70 mcp.servers.a.auth.bearer",
        ),
        (
            "mcp: {servers: {a: {transport: stdio, command: [x], env: {API_KEY: abc}}}}",
            "1:68 mcp.servers.a.env.API_KEY",
        ),
    ],
)
def test_a_secret_in_the_file_is_refused_and_told_how_to_mend(text: str, place: str) -> None:
    found = faults(text)
    if "$${" in text:  # without quotes a brace ends the mapping
        assert "not valid YAML" in found[0]
        return
    assert found == [f"{place}: {SECRET}"]
    assert "${file:/run/secrets/name}" in hints(text)[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "keys:\n- {name: a, secret: '${REVIEWER_KEY}'}\n- {name: a, secret: '${HELPDESK_KEY}'}",
            ["3:10 keys[1].name: the name `a` is taken"],
        ),
        (
            "keys:\n- {name: a, secret: '${REVIEWER_KEY}'}\n- {name: b, secret: '${REVIEWER_KEY}'}",
            ["3:21 keys[1].secret: is the same key as that of `a`"],
        ),
        ("keys: [{name: a, secret: '${PORT}'}]", ["1:26 keys[0].secret: is not a well-formed key"]),
        ("keys: [{name: a}]", ["1:8 keys[0].secret: is missing"]),
        (
            "keys: [{name: a, secret: '${REVIEWER_KEY}', expires_at: 2027-02-30, models: []}]",
            [
                "1:57 keys[0].expires_at: there is no such day",
                "1:77 keys[0].models: is empty, so the key could do nothing",
            ],
        ),
        (
            OPENAI
            + "models: {gpt-5: {provider: openai}}\n"
            + "keys: [{name: a, secret: '${REVIEWER_KEY}', models: [gpt-5, gpt*, gtp-5, x*]}]",
            ["3:67 keys[0].models[2]: there is no model `gtp-5`", "3:74 keys[0].models[3]: there is no model `x*`"],
        ),
        (
            "keys: [{name: a, secret: '${REVIEWER_KEY}', limits: [{usd: 1}, {tokens: 1, window: day}]}]",
            ["1:54 keys[0].limits[0].window: is missing"],
        ),
    ],
)
def test_faults_of_keys(text: str, expected: list[str]) -> None:
    assert faults(text) == expected


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("server: {prot: 1}", "did you mean `port`?"),
        ("loops: {action: stopp}", "did you mean `stop`?"),
        ("limits: [{name: a, tokens: 1, window: day, teem: x}]", "did you mean `team`?"),
        ("models: {m: {deployments: [{provder: x}]}}", "did you mean `provider`?"),
        ("loops: {cycles: 4}", "did you mean `cycle`?"),
        ("upstream: {x: 1}", "known here: breaker, client, retries"),
        ("policy: {timezone: Europe/Berln}", "did you mean `Europe/Berlin`?"),
    ],
)
def test_a_slip_of_the_pen_gets_the_word_that_was_meant(text: str, hint: str) -> None:
    assert hint in hints(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["1:1 models: there are no models and no tool servers, so nothing can be called"]),
        (
            sample_yaml() + "telemetry: {content_logging: true}",
            ["telemetry.content_logging: prompts and answers are written"],
        ),
        (
            sample_yaml().replace("${COMPTROLLER_ADMIN_TOKEN:-}", "${PORT}"),
            ["admin.token: is shorter than 20 characters"],
        ),
        (
            sample_yaml() + "prices: {overrides: {sim-smal: {input_usd_per_mtok: 1, output_usd_per_mtok: 1}}}",
            ["no model is called so"],
        ),
        (
            sample_yaml().replace("each: user, usd: 20", "environment: prod, usd: 20"),
            ["nobody has this environment, so the limit binds no call"],
        ),
        (
            sample_yaml().replace("each: user, usd: 20", "label:kind: codng, usd: 20"),
            ["nobody has this label:kind, so the limit binds no call"],
        ),
        (
            sample_yaml().replace(
                "sim: {kind", "far: {kind: openai, base_url: 'http://far.example/v1', api_key: '${PORT}'}\n  sim: {kind"
            ),
            ["providers.far.base_url: the key and all prompts travel unencrypted"],
        ),
    ],
)
def test_what_is_hardly_meant_is_a_warning(text: str, expected: list[str]) -> None:
    warnings = [f"{w.line}:{w.column} {w.setting}: {w.message}" for w in read(text).warnings]
    assert len(warnings) == len(expected)
    assert all(part in warning for warning, part in zip(warnings, expected, strict=True))


def test_the_sample_that_init_writes_runs_at_once() -> None:
    loaded = read(sample_yaml(), {})
    assert loaded.warnings == ()
    assert sorted(loaded.settings.models) == ["sim-large", "sim-small"]
    assert loaded.settings.admin.token is None


def test_every_value_knows_where_it_comes_from() -> None:
    loaded = read('server:\n  port: "${PORT:-1}"\n  host: ::1\n')
    port = loaded.origin(("server", "port"))
    assert (port.source, port.file, port.line, port.column, port.references) == ("file", str(PATH), 2, 9, ("PORT",))
    assert loaded.origin(("server", "host")).references == ()
    assert loaded.origin(("server", "workers")) == DEFAULT
    later = loaded.finding(("server", "port"), "is in use")
    assert str(later) == "comptroller.yaml:2:9: server.port: is in use"


def test_a_detector_can_be_switched_off() -> None:
    loops = read("loops: {identical_requests: off, action: off}").settings.loops
    assert (loops.identical_requests, loops.identical_tool_calls, loops.action) == (0, 6, "off")


def test_paths_start_from_the_file(tmp_path: Path) -> None:
    config = tmp_path / "etc" / "comptroller.yaml"
    config.parent.mkdir()
    config.write_text("{}")
    loaded = load(config, {})
    assert loaded.resolve(loaded.settings.storage.sqlite_path) == tmp_path / "etc" / "var" / "comptroller.db"
    assert loaded.resolve("/srv/model.conf") == Path("/srv/model.conf")


def test_a_file_that_is_not_there_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file or directory") as caught:
        load(tmp_path / "comptroller.yaml", {})
    assert caught.value.findings[0].hint == "`comptroller init` writes one"


CANARIES = """
providers: {openai: {kind: openai, api_key: "${OPENAI_API_KEY}", headers: {Cookie: "a=${GITHUB_MCP_TOKEN}"}}}
models: {m: {provider: openai}}
admin: {token: "${COMPTROLLER_ADMIN_TOKEN}"}
keys: [{name: a, secret: "${REVIEWER_KEY}"}]
"""


def test_secrets_are_in_no_text_that_a_configuration_gives() -> None:
    settings = read(CANARIES).settings
    key = settings.providers["openai"].api_key
    assert key is not None
    assert key.reveal() == ENVIRONMENT["OPENAI_API_KEY"]
    shown = [
        repr(settings),
        str(settings),
        settings.model_dump_json(),
        str(settings.model_dump()),
        f"{key} {key!r} {key:>40}",
    ]
    for text in shown:
        assert "canary" not in text
        assert ENVIRONMENT["REVIEWER_KEY"] not in text
    assert json.loads(settings.model_dump_json(by_alias=True))["admin"] == {"token": "***"}


@pytest.mark.parametrize(
    "text",
    [
        CANARIES + "server: {port: x}",
        'server: {port: "${OPENAI_API_KEY}", server: "${OPENAI_API_KEY}", fast_path: "${OPENAI_API_KEY}"}',
        'sessions: {idle_timeout: "${OPENAI_API_KEY}"}\npolicy: {timezone: "${OPENAI_API_KEY}"}',
        'keys: [{name: a, secret: "${OPENAI_API_KEY}"}]',
        'storage: {url: "${OPENAI_API_KEY}"}\nserver: {public_url: "${OPENAI_API_KEY}"}',
        'policy: {files: "${OPENAI_API_KEY}"}\nprices: {unknown: "${OPENAI_API_KEY}"}',
        'limits: [{name: "${OPENAI_API_KEY}", each: "${OPENAI_API_KEY}", tokens: 1, window: "${OPENAI_API_KEY}"}]',
        'limits: [{name: a, model: "${OPENAI_API_KEY}", provider: "${OPENAI_API_KEY}", usd: "${OPENAI_API_KEY}"}]',
        'limits: [{name: "${OPENAI_API_KEY}", usd: 1, window: day}, {name: "${OPENAI_API_KEY}", usd: 1, window: day}]',
        'server: {host: "${file:${OPENAI_API_KEY}}"}',
    ],
)
def test_secrets_are_in_no_error(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(text)
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value.findings)
    assert "canary" not in told
