"""The machinery that judges the project is judged as well: what CI promises, and what the container files name."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.tidy.tree import ROOT

SKIPPING = """
import pytest

@pytest.fixture
def absent():
    pytest.skip("in a fixture")

@pytest.mark.skip(reason="marked")
def test_marked(): ...

def test_inside():
    pytest.skip("inside")

def test_fixture(absent): ...

def test_passes(): ...
"""


@pytest.mark.parametrize(("ci", "outcome"), [("true", "1 failed, 1 passed, 2 errors"), ("", "1 passed, 3 skipped")])
def test_a_skip_is_a_failure_in_ci_only(tmp_path: Path, ci: str, outcome: str) -> None:
    (tmp_path / "conftest.py").write_text((ROOT / "tests/conftest.py").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "test_made.py").write_text(SKIPPING, encoding="utf-8")
    config = f"--config-file={ROOT / 'pyproject.toml'}"
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            config,
            f"--rootdir={tmp_path}",
            str(tmp_path),
        ],
        env={**os.environ, "CI": ci},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome in run.stdout, run.stdout + run.stderr
    assert run.returncode == (1 if ci else 0)


def test_ci_runs_the_whole_check() -> None:
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert "set -euo pipefail" in script
    assert "export CI=true" in script
    assert script.rstrip().endswith("make --keep-going check test-agents")
    assert re.search(r"^check: lint types layers test ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def test_make_says_plainly_that_there_is_no_python(tmp_path: Path) -> None:
    command = ["make", "--file", str(ROOT / "Makefile"), "PYTHON=", "test"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode != 0
    assert "needs Python 3.11 or newer" in run.stderr
    assert list(tmp_path.iterdir()) == []


def test_container_copies_what_there_is() -> None:
    lines = (ROOT / "deploy/Containerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    copied = [line.split()[1:-1] for line in lines if line.startswith("COPY ") and "--from=" not in line]
    assert copied
    assert [path for paths in copied for path in paths if not (ROOT / path).exists()] == []


def test_container_runs_without_root_from_locked_wheels() -> None:
    text = (ROOT / "deploy/Containerfile").read_text(encoding="utf-8")
    users = re.findall(r"^USER (\S+)", text, re.MULTILINE)
    assert users
    assert users[-1] not in {"0", "root"}
    assert text.count("pip install") == text.count("--require-hashes") + text.count("--no-deps --no-index")
    assert "HEALTHCHECK" in text


def test_compose_is_one_node_without_secrets() -> None:
    compose = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text(encoding="utf-8"))
    (service,) = compose["services"].values()
    assert (ROOT / "deploy" / service["build"]["context"]).resolve() == ROOT
    assert (ROOT / service["build"]["dockerfile"]).is_file()
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    named = {volume.partition(":")[0] for volume in service["volumes"]}
    assert named == set(compose["volumes"])
    # Values come from the operator's environment; a name alone passes on what is set and nothing else.
    assert [value for value in service["environment"].values() if value not in {None, ""}] == []
