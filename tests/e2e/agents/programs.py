"""The real agent programs: where `make test-agents` (or `make test-more-agents`) has put them, how one is set up as
`comptroller connect` says, and how it is run."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.gateway import GatewayProcess
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
        pytest.skip(f"{path} is not installed; see `make help`")
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


def homes(tmp_path: Path) -> tuple[Path, Path]:
    """A home and a project of its own, kept over several runs of one test."""
    home, project = tmp_path / "home", tmp_path / "project"
    home.mkdir(exist_ok=True)
    project.mkdir(exist_ok=True)
    return home, project


def connect(agent: str, gateway: GatewayProcess, model: str, home: Path, project: Path) -> dict[str, str]:
    """Lets `comptroller connect` write its files; the environment that it tells a person to set beside them."""
    command = [sys.executable, "-m", "gateway.cli.main", "connect", agent, "--model", model, "--url", gateway.origin]
    done = subprocess.run(
        [*command, "--write", "--directory", str(project), "--json"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
    )
    said: dict[str, str] = json.loads(done.stdout)["environment"]
    return said
