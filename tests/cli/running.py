"""The command as a process of its own, or, where that would show nothing more, called in this one: it takes a second to
start Python and import all of it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.main import main
from tests.tidy.tree import ROOT

COMMAND = (sys.executable, "-m", "gateway.cli.main")
TIMEOUT_S = 60
NOBODYS_PORT = "9"
"""So that no command finds a server that another test or a person has running."""


@dataclass(frozen=True, slots=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "USER": "eve", "COMPTROLLER_PORT": NOBODYS_PORT, **extra}


def comptroller(directory: Path, *arguments: str, **extra: str) -> Ran:
    """Runs to its end in that directory."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=directory,
        env=environment(extra),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


class Called:
    """Calls the command in this process, as if in `directory`."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: str, **extra: str) -> Ran:
        with self._monkeypatch.context() as patch:
            patch.chdir(self.directory)
            patch.setattr(sys, "argv", ["comptroller", *arguments])
            for name, value in {"USER": "eve", "COMPTROLLER_PORT": NOBODYS_PORT, **extra}.items():
                patch.setenv(name, value)
            self._capsys.readouterr()
            with pytest.raises(SystemExit) as ended:
                main()
        said = self._capsys.readouterr()
        code = ended.value.code
        return Ran(code if isinstance(code, int) else 0, said.out, said.err)
