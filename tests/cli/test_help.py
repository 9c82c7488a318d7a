"""What `comptroller --help` shows: quick, complete, and the same as docs/cli.md."""

import re
import resource
import subprocess
import sys
from collections.abc import Iterator

import pytest
import typer

from gateway.cli.app import app
from tests.cli.running import COMMAND, comptroller
from tests.tidy.tree import ROOT

CPU_S_MAX = 0.4
"""Twice what is promised for the whole of it, since a busy machine's CPU is slower, too."""
HEAVY = ("pydantic", "quart", "aiohttp", "httpx2", "casbin", "yaml", "aiosqlite", "rich", "mcp", "gateway.settings")
NO_BOOKS = frozenset({"connect", "demo", "init", "mcp", "keys generate"})
"""Commands that read no configuration."""


def commands() -> Iterator[tuple[str, object]]:
    """(words, command) of everything that can be run."""
    root = typer.main.get_command(app)
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        below = getattr(command, "commands", None)
        if below is None:
            yield name, command
        else:
            for inner, found in below.items():
                yield f"{name} {inner}", found


COMMANDS = dict(commands())


def options(words: str) -> list[str]:
    return [name for parameter in COMMANDS[words].params for name in parameter.opts]  # type: ignore[attr-defined]


def test_the_commands_are_those_of_the_contract() -> None:
    assert set(COMMANDS) == {
        *("demo", "init", "serve", "mcp", "connect", "check", "doctor", "usage"),
        *(f"alerts {verb}" for verb in ("list", "test", "retry")),
        *(f"keys {verb}" for verb in ("generate", "create", "list", "rotate", "disable", "enable", "revoke")),
        *("limits list", "limits show", "limits grant"),
        *(f"requests {verb}" for verb in ("list", "show", "approve", "reject", "withdraw")),
        *(f"sessions {verb}" for verb in ("list", "show", "pause", "resume", "stop", "close")),
        *("policy check", "policy test", "policy explain", "audit search", "audit verify"),
    }


@pytest.mark.parametrize("words", sorted(COMMANDS))
def test_every_command_explains_itself_and_speaks_json(words: str) -> None:
    command = COMMANDS[words]
    assert command.help  # type: ignore[attr-defined]
    assert "--json" in options(words)
    assert ("--config" in options(words)) is (words not in NO_BOOKS)
    unexplained = [p.name for p in command.params if not getattr(p, "help", None)]  # type: ignore[attr-defined]
    assert unexplained == []


@pytest.mark.parametrize("words", sorted(COMMANDS))
def test_every_command_and_option_is_documented(words: str) -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    sections = dict(
        re.findall(r"^### `comptroller ([a-z ]+?)(?: [A-Z\[][^`]*)?`\n(.*?)(?=^##|\Z)", page, re.MULTILINE | re.DOTALL)
    )
    assert words in sections
    common = {"--json", "--config"}
    missing = [name for name in options(words) if name.startswith("--") and name not in common]
    missing = [name for name in missing if f"`{name}" not in sections[words]]
    assert missing == []


def test_help_is_quick() -> None:
    """CPU time, as a wall clock tells what else the machine does; the best of some, as the first reads the disk."""
    taken = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([*COMMAND, "--help"], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(taken) < CPU_S_MAX


def test_help_imports_nothing_heavy() -> None:
    script = f"import sys, gateway.cli.main; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("arguments", [(), ("keys",), ("policy",), ("--help",), ("keys", "create", "--help")])
def test_help_goes_to_standard_output(tmp_path, arguments: tuple[str, ...]) -> None:
    ran = comptroller(tmp_path, *arguments)
    assert "Usage: comptroller" in ran.out + ran.err
    assert ran.code == (0 if "--help" in arguments else 2)
    assert "\x1b" not in ran.out


@pytest.mark.parametrize("arguments", [(), ("keys",), ("limits",), ("sessions",), ("policy",), ("audit",)])
def test_lists_of_commands_end_no_sentence_in_dots(tmp_path, arguments: tuple[str, ...]) -> None:
    assert "..." not in comptroller(tmp_path, *arguments, "--help").out.partition("Commands:")[2]


def test_the_version_is_told(tmp_path) -> None:
    ran = comptroller(tmp_path, "--version")
    assert re.fullmatch(r"comptroller \d+\.\d+\.\d+\n", ran.out)


@pytest.mark.parametrize(
    "arguments",
    [("fly",), ("keys", "fly"), ("usage", "--by"), ("serve", "--port", "99999"), ("sessions", "pause"), ("usage", "x")],
)
def test_what_cannot_be_understood_is_a_usage_error(tmp_path, arguments: tuple[str, ...]) -> None:
    ran = comptroller(tmp_path, *arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err
