"""The command as a process of its own, with nothing around it but what a test sets."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.tidy.tree import ROOT

COMMAND = (sys.executable, "-m", "gateway.cli.main")
TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "USER": "eve", **extra}


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
