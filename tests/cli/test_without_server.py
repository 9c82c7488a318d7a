"""Commands where no server runs: from an empty directory to books that verify."""

import os
import re
import stat
from pathlib import Path

import pytest

from gateway.core.identity import well_formed
from tests.cli.running import Called, comptroller

POLICY_FAULT = "p, user:alice, small\n"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Called:
    return Called(tmp_path, monkeypatch, capsys)


@pytest.fixture
def place(run: Called, tmp_path: Path) -> Path:
    """A directory after `comptroller init`."""
    assert run("init").code == 0
    return tmp_path


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_init_writes_what_runs_at_once(tmp_path: Path) -> None:
    ran = comptroller(tmp_path, "init", "my gateway", "--json")
    written = [tmp_path / name for name in ran.json["written"]]
    assert {path.name for path in written} >= {
        "comptroller.yaml",
        "model.conf",
        "tests.yaml",
        "admin.token",
        ".gitignore",
    }
    assert all(path.is_file() for path in written)
    token = tmp_path / "my gateway" / "var" / "admin.token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert token.read_text().strip() not in (tmp_path / "my gateway" / "comptroller.yaml").read_text()
    assert comptroller(tmp_path / "my gateway", "check").code == 0
    assert comptroller(tmp_path, "check", "--config", "my gateway/comptroller.yaml").code == 0


def test_init_makes_another_token_each_time(run: Called, tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert run("init", name).code == 0
    assert (tmp_path / "one/var/admin.token").read_text() != (tmp_path / "two/var/admin.token").read_text()


def test_init_overwrites_nothing(run: Called, tmp_path: Path) -> None:
    (tmp_path / "model.conf").write_text("mine")
    ran = run("init")
    assert (ran.code, ran.out) == (2, "")
    assert "model.conf" in ran.err
    assert [path.name for path in tmp_path.iterdir()] == ["model.conf"]
    assert (tmp_path / "model.conf").read_text() == "mine"


def test_keys_are_managed_in_the_books_themselves(run: Called, place: Path) -> None:
    made = run("keys", "create", "--user", "alice", "--app", "ci", "--limit", "usd=5/day", "--json").json
    assert set(made) == {"id", "name", "secret"}
    assert well_formed(made["secret"])
    assert made["name"] == "alice-ci"
    for verb, state in (("disable", "disabled"), ("enable", "active"), ("revoke", "revoked")):
        assert run("keys", verb, made["id"], "--json").json["state"] == state
    (listed,) = run("keys", "list", "--json").json
    assert (listed["state"], listed["limits"]) == ("revoked", ["usd=5.00/day"])
    ran = run("keys", "enable", made["id"])
    assert (ran.code, ran.out) == (2, "")
    assert "final" in ran.err
    assert run("audit", "verify", "--json").json["ok"] is True


def test_rotating_shows_the_new_secret_once(run: Called, place: Path) -> None:
    first = run("keys", "create", "--name", "k", "--json").json["secret"]
    second = run("keys", "rotate", "k", "--json").json["secret"]
    assert well_formed(second)
    assert first != second
    assert "cptr_sk_" not in run("keys", "list", "--json").out


def test_changes_name_who_made_them(run: Called, place: Path) -> None:
    for actor, expected in (
        ({}, "admin:eve"),
        ({"COMPTROLLER_ACTOR": "ops"}, "admin:ops"),
        ({"USER": "a b"}, "admin:cli"),
    ):
        run("keys", "create", "--name", f"k-{expected[6:]}", **actor)
        rows = run("audit", "search", "--kind", "key", "--text", f"k-{expected[6:]}", "--json").json
        assert [row["doc"]["actor"] for row in rows] == [expected]


def test_a_generated_key_is_well_formed_and_registered_nowhere(run: Called, tmp_path: Path) -> None:
    ran = run("keys", "generate")
    assert well_formed(ran.out.strip())
    assert well_formed(run("keys", "generate", "--json").json["secret"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [("usage",), ("keys", "list"), ("limits", "list"), ("sessions", "list"), ("audit", "search"), ("keys", "create")],
)
def test_no_books_are_made_where_none_belong(run: Called, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    ran = run(*arguments, COMPTROLLER_ADMIN_TOKEN="x" * 30)
    assert (ran.code, ran.out) == (3, "")
    assert "comptroller.yaml" in ran.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("keys", "disable", "nobody"), 1),
        (("keys", "disable", "a/b?c"), 1),
        (("sessions", "show", "ses_nothing"), 1),
        (("limits", "show", "nothing"), 1),
        (("keys", "create", "--limit", "dollars=5/day"), 2),
        (("keys", "create", "--expires", "soon"), 2),
        (("usage", "--by", "prompt"), 2),
        (("usage", "--since", "soon"), 2),
        (("usage", "--csv", "--json"), 2),
        (("sessions", "list", "--state", "asleep"), 2),
        (("policy", "explain"), 2),
        (("policy", "explain", "alice"), 2),
        (("policy", "explain", "user:alice", "--args", "[]"), 2),
    ],
)
def test_what_cannot_be_done_is_said_on_standard_error(
    run: Called, place: Path, arguments: tuple[str, ...], code: int
) -> None:
    ran = run(*arguments)
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.startswith("comptroller: ")
    assert "Traceback" not in ran.err


def test_check_tells_every_fault_at_its_place(run: Called, place: Path) -> None:
    edit(place / "comptroller.yaml", "port: ", "prot: ")
    edit(place / "comptroller.yaml", "idle_timeout: 30m", "idle_timeout: 30")
    ran = run("check", "--json")
    assert (ran.code, ran.json["ok"]) == (1, False)
    lines = (place / "comptroller.yaml").read_text().splitlines()
    for finding in ran.json["findings"]:
        assert finding["fault"] is True
        assert lines[finding["line"] - 1][finding["column"] - 1 :].startswith(("prot", "30"))
        assert finding["hint"]
    assert [finding["setting"] for finding in ran.json["findings"]] == ["server.prot", "sessions.idle_timeout"]
    told = run("check")
    assert re.search(r"comptroller\.yaml:\d+:\d+: server\.prot: ", told.out)


def test_check_looks_at_the_policy_and_its_tests(run: Called, place: Path) -> None:
    rows = place / "policies" / "00-default.csv"
    rows.write_text(rows.read_text() + POLICY_FAULT)
    for command in (("check",), ("policy", "check"), ("policy", "test")):
        ran = run(*command)
        assert ran.code == 1, command
        assert re.search(r"00-default\.csv:\d+:\d+: ", ran.out), command


def test_an_expectation_that_fails_is_a_finding(run: Called, place: Path) -> None:
    edit(place / "policies" / "tests.yaml", "expect: deny", "expect: allow")
    ran = run("policy", "test", "--json")
    assert ran.code == 1
    failed = [result["finding"] for result in ran.json if not result["passed"]]
    assert [finding["path"] for finding in failed] == ["policies/tests.yaml"]
    assert run("check").code == 1


def test_judging_the_policy_needs_no_books(run: Called, place: Path) -> None:
    before = sorted(path.name for path in (place / "var").iterdir())
    assert run("policy", "check").code == 0
    assert run("policy", "test").code == 0
    assert sorted(path.name for path in (place / "var").iterdir()) == before


def test_explain_tells_the_rows_and_casbins_own_word(run: Called, place: Path) -> None:
    run("keys", "create", "--name", "k", "--agent", "reviewer")
    ran = run("policy", "explain", "--key", "k", "--model", "sim-small")
    assert ran.code == 0
    assert ran.out.startswith("ALLOW")
    assert "agent:reviewer" in ran.out
    assert "Casbin says: allow by policies/00-default.csv" in ran.out
    denied = comptroller(
        place, "policy", "explain", "user:alice", "--tool", "x", "--action", "tool:list", "--json"
    ).json
    assert denied["allowed"] is True
    assert run("policy", "explain", "user:a", "--action", "portal:keys").code == 2


def test_a_broken_configuration_is_a_finding_of_every_command(run: Called, place: Path) -> None:
    edit(place / "comptroller.yaml", "port: ", "prot: ")
    for command in (("usage",), ("serve",), ("keys", "list"), ("policy", "test")):
        ran = run(*command)
        assert (ran.code, ran.out) == (1, ""), command
        assert "prot" in ran.err


def test_doctor_finds_a_fresh_place_well(run: Called, place: Path) -> None:
    run("keys", "list")
    ran = run("doctor", "--json")
    symptoms = {symptom["what"]: symptom for symptom in ran.json}
    assert {"Python", "SQLite", "OpenSSL", "clock", "fsync", "configuration", "books", "port"} <= symptoms.keys()
    assert (ran.code, [s for s in ran.json if s["ok"] is False]) == (0, [])


@pytest.mark.parametrize("command", [("serve", "--port", "0"), ("keys", "list"), ("doctor",)])
def test_books_that_cannot_be_made_are_told_with_what_to_do(run: Called, place: Path, command: tuple[str, ...]) -> None:
    (place / "no-directory").write_text("")
    edit(place / "comptroller.yaml", "sqlite:///var/comptroller.db", "sqlite:///no-directory/books/comptroller.db")
    ran = run(*command)
    assert ran.code == (1 if command == ("doctor",) else 3)
    assert "storage.url" in ran.out + ran.err
    assert "COMPTROLLER_URL" not in ran.err


@pytest.mark.parametrize("sick", ["key", "provider", "config", "books", "program", "clock"])
def test_doctor_says_what_to_mend(run: Called, place: Path, sick: str) -> None:
    run("keys", "list")
    config, books = place / "comptroller.yaml", place / "var" / "comptroller.db"
    what = {"key": "permissions of comptroller.db.key", "provider": "provider far", "config": "configuration"}.get(sick)
    match sick:
        case "key":
            (place / "var" / "comptroller.db.key").chmod(0o644)
        case "provider":
            far = '  far: {kind: openai_compatible, base_url: "http://127.0.0.1:9/v1", api_key: none}\n'
            edit(config, "  sim: {kind: simulated}\n", f"  sim: {{kind: simulated}}\n{far}")
        case "config":
            edit(config, "port: ", "prot: ")
        case "books":
            content = bytearray(books.read_bytes())
            content[8192:] = b"\xff" * (len(content) - 8192)
            books.write_bytes(bytes(content))
            what = "books"
        case "program":
            config.write_text(
                f"{config.read_text()}\nmcp: {{servers: {{gone: {{transport: stdio, command: [no-such-program]}}}}}}\n"
            )
            what = "tool server gone"
        case _:
            ahead = books.stat().st_mtime + 86_400
            os.utime(books, (ahead, ahead))
            what = "clock"
    ran = run("doctor", "--json")
    assert ran.code == 1
    mend = [symptom for symptom in ran.json if symptom["ok"] is False]
    assert [symptom["what"] for symptom in mend] == [what]
    assert mend[0]["fix"]
