"""The installed wheel works where there is no repository: an empty folder, an environment of its own."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def comptroller(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command in a new environment. It sees the dependencies installed here, and of Comptroller only the wheel:
    path files are not followed from within a path file, so the editable install stays out of sight."""
    folder = tmp_path_factory.mktemp("environment")
    run([sys.executable, "-m", "venv", "--without-pip", str(folder)], folder)
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    python = next(scripts.glob("python*"))
    (site,) = folder.rglob("site-packages")
    (site / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-index", "--no-deps"]
    run([*pip, "--ignore-installed", str(wheel)], folder)
    return next(scripts.glob("comptroller*"))


def run(command: list[str], where: Path) -> str:
    done = subprocess.run(command, cwd=where, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_it_is_the_wheel_that_runs(comptroller: Path, tmp_path: Path) -> None:
    python = next(comptroller.parent.glob("python*"))
    where = run([str(python), "-c", "import gateway; print(gateway.__file__)"], tmp_path)
    assert Path(where.strip()).is_relative_to(comptroller.parent.parent)


def test_help(comptroller: Path, tmp_path: Path) -> None:
    assert "serve" in run([str(comptroller), "--help"], tmp_path)


def test_init_writes_what_check_accepts(comptroller: Path, tmp_path: Path) -> None:
    run([str(comptroller), "init", "."], tmp_path)
    run([str(comptroller), "check", "--config", "comptroller.yaml"], tmp_path)


def test_demo_ends_by_itself(comptroller: Path, tmp_path: Path) -> None:
    run([str(comptroller), "demo"], tmp_path)
