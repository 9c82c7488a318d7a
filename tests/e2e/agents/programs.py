"""The real agent programs: where `make test-agents` has put them, and how one of them is run."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.tidy.tree import ROOT

MODULES = Path(os.environ.get("AGENT_PROGRAMS", ROOT / ".venv" / "agents")).resolve() / "node_modules"
TIMEOUT_S = 90
_KEPT = ("PATH", "LANG", "LC_ALL", "TMPDIR")


@dataclass(frozen=True, slots=True)
class Ran:
    code: int
    out: str
    err: str


def program(path: str) -> str:
    """An installed program. Skips the test where it is not there; with CI=true it must be."""
    found = MODULES / path
    if not found.exists():
        assert os.environ.get("CI") != "true", f"{found} is not installed"
        pytest.skip(f"{path} is not installed; `make test-agents` does it")
    return str(found)


def run(
    command: Sequence[str], directory: Path, environment: Mapping[str, str], *, home: Path, timeout_s: float = TIMEOUT_S
) -> Ran:
    """Runs to its end, with a home of its own and nothing of ours in its environment."""
    done = subprocess.run(
        command,
        cwd=directory,
        env={**{name: os.environ[name] for name in _KEPT if name in os.environ}, "HOME": str(home), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)
