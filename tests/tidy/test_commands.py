"""Every command line that a document shows is one that the program takes."""

import re
import sys
from collections.abc import Callable

import pytest

from gateway.cli.main import main
from tests.tidy.test_docs import code_in, documents

SHOWN = re.compile(r"(?:^|[\s/$|(])comptroller((?: [a-z][a-z-]*)+)(?=[\s`;|)/]|$)")


def shown_commands() -> list[str]:
    """The words after `comptroller`, without options and arguments."""
    return sorted({words.strip() for _, text in documents() for code in code_in(text) for words in SHOWN.findall(code)})


def taken(command: Callable[[], object], words: str, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(sys, "argv", ["comptroller", *words.split(), "--help"])
    try:
        code = command()
    except SystemExit as end:
        code = end.code
    return code in {None, 0}


@pytest.mark.parametrize("words", shown_commands())
def test_shown_commands_exist(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert taken(main, words, monkeypatch), f"`comptroller {words}` stands in a document and is no command"


def test_a_command_that_does_not_exist_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not taken(main, "fly-to-the-moon", monkeypatch)
    assert not taken(main, "keys fly-to-the-moon", monkeypatch)
