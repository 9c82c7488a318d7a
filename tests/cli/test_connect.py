"""`comptroller connect`: what it prints is what its program can read, what it writes takes nothing away."""

import ast
import json
import runpy
import tomllib
from pathlib import Path

import pytest
import yaml

from gateway.core.client_setup import KEY_VARIABLE, JsonFile, SetupFile, TextFile, TomlFile
from gateway.core.client_setups import SETUPS
from tests.cli.running import Called
from tests.tidy.tree import ROOT

URL = "https://ai.example.com:8443"
MODEL = "org/some-model:7b"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Called:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    monkeypatch.delenv("COMPTROLLER_URL", raising=False)
    (tmp_path / "home").mkdir()
    (tmp_path / "project").mkdir()
    return Called(tmp_path / "project", monkeypatch, capsys)


def read(file: SetupFile) -> object:
    """As its program reads it."""
    text = file.text()
    match file:
        case JsonFile():
            return json.loads(text)
        case TomlFile():
            return tomllib.loads(text)
        case TextFile():
            return ast.parse(text) if file.path.endswith(".py") else yaml.safe_load(text)


def test_the_page_shows_what_the_command_prints() -> None:
    page = (ROOT / "docs/agents.md").read_text(encoding="utf-8")
    assert page == runpy.run_path(str(ROOT / "docs/make_agents.py"))["page_text"](page)


@pytest.mark.parametrize("name", SETUPS)
def test_a_setup_names_gateway_model_and_the_variable_of_the_key(name: str) -> None:
    setup = SETUPS[name](URL, MODEL)
    assert all(read(file) for file in setup.files)
    everything = setup.exports() + "".join(file.text() for file in setup.files) + setup.run + "".join(setup.notes)
    for word in (URL, MODEL, KEY_VARIABLE):
        assert word in everything


@pytest.mark.parametrize("name", SETUPS)
def test_what_is_printed_is_in_the_document_too(run: Called, name: str) -> None:
    printed = run("connect", name, "--url", URL, "--model", MODEL)
    document = run("connect", name, "--url", URL, "--model", MODEL, "--json").json
    assert printed.code == 0
    assert document["client"] == name
    for file in document["files"]:
        assert file["content"].rstrip() in printed.out
    for variable, value in document["environment"].items():
        assert f'export {variable}="{value}"' in printed.out
    assert document["written"] == []


@pytest.mark.parametrize("name", SETUPS)
def test_writing_twice_writes_once(run: Called, name: str) -> None:
    first = run("connect", name, "--url", URL, "--model", MODEL, "--write", "--json").json["written"]
    assert len(first) == len(SETUPS[name](URL, MODEL).files)
    contents = [Path(run.directory, path).read_text("utf-8") for path in first]
    again = run("connect", name, "--url", URL, "--model", MODEL, "--write", "--json")
    assert again.json["written"] == []
    assert [Path(run.directory, path).read_text("utf-8") for path in first] == contents


def test_settings_that_are_there_stay(run: Called) -> None:
    settings = run.directory / ".claude/settings.json"
    settings.parent.mkdir()
    settings.write_text('{"permissions": {"allow": ["Read"]}, "env": {"EDITOR": "vi"}}', encoding="utf-8")
    settings.chmod(0o600)
    assert run("connect", "claude-code", "--url", URL, "--model", MODEL, "--write").code == 0
    found = json.loads(settings.read_text("utf-8"))
    assert found["permissions"] == {"allow": ["Read"]}
    assert found["env"] == {
        "EDITOR": "vi",
        "ANTHROPIC_BASE_URL": URL,
        "CLAUDE_CODE_GATEWAY_HINT_HEADERS": "1",
        "ANTHROPIC_MODEL": MODEL,
    }
    assert settings.stat().st_mode & 0o777 == 0o600


def test_toml_keeps_its_comments_and_its_tables(run: Called, tmp_path: Path) -> None:
    config = tmp_path / "home/.codex/config.toml"
    config.parent.mkdir()
    config.write_text('# mine\napproval_policy = "never"\n\n[mcp_servers.files]\ncommand = "files"\n', encoding="utf-8")
    assert run("connect", "codex", "--url", URL, "--model", MODEL, "--write").code == 0
    text = config.read_text("utf-8")
    assert "# mine\n" in text
    found = tomllib.loads(text)
    assert (found["approval_policy"], found["model_provider"], found["model"]) == ("never", "comptroller", MODEL)
    assert set(found["mcp_servers"]) == {"files", "comptroller"}
    assert found["model_providers"]["comptroller"]["base_url"] == f"{URL}/v1"


@pytest.mark.parametrize(
    ("name", "path", "content", "said"),
    [
        (
            "claude-code",
            "project/.mcp.json",
            '{"mcpServers": {"comptroller": {"type": "stdio"}}}',
            "mcpServers.comptroller.type",
        ),
        ("claude-code", "project/.mcp.json", "{// a comment\n}", "cannot be read"),
        ("claude-code", "project/.mcp.json", "[]", "cannot be read"),
        ("codex", "home/.codex/config.toml", 'model_provider = "mine"\n', "model_provider"),
        ("codex", "home/.codex/config.toml", '[model_providers.comptroller]\nname = "Comptroller"\n', "lacks settings"),
        ("codex", "home/.codex/config.toml", "no toml", "cannot be read"),
        ("aider", "project/.aider.conf.yml", "model: other\n", "something else"),
    ],
)
def test_a_file_that_says_otherwise_is_left_and_nothing_is_written(
    run: Called, tmp_path: Path, name: str, path: str, content: str, said: str
) -> None:
    file = tmp_path / path
    file.parent.mkdir(exist_ok=True)
    file.write_text(content, encoding="utf-8")
    before = sorted(tmp_path.rglob("*"))
    ran = run("connect", name, "--url", URL, "--model", MODEL, "--write")
    assert ran.code == 1
    assert said in ran.err
    assert file.read_text("utf-8") == content
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("emacs", "--model", "m"), 2, "known are claude-code, codex"),
        (("openai", "--url", 'http://x"; import os', "--model", "m"), 2, "is not an address"),
        (("openai", "--url", "file:///etc/passwd", "--model", "m"), 2, "is not an address"),
        (("openai", "--model", 'm"; import os; "'), 2, "is not the name of a model"),
        (("openai",), 2, "--model"),
    ],
)
def test_what_cannot_be_set_up_is_a_usage_error(run: Called, arguments: tuple[str, ...], code: int, said: str) -> None:
    ran = run("connect", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err


def test_a_gateway_that_does_not_answer_is_unavailable(run: Called) -> None:
    ran = run("connect", "openai", "--url", "http://127.0.0.1:9", **{KEY_VARIABLE: "cptr_sk_x"})
    assert ran.code == 3
    assert "does not answer" in ran.err
