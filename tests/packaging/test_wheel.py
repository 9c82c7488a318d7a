"""The wheel carries all that a machine without the repository needs, and nothing of the repository besides."""

import zipfile
from pathlib import Path

from tests.tidy.tree import PRODUCT, ROOT, walk


def test_everything_below_the_packages_is_shipped(wheel: Path) -> None:
    shipped = set(zipfile.ZipFile(wheel).namelist())
    ours = {path.relative_to(ROOT).as_posix() for top in PRODUCT for path in walk(ROOT / top)}
    assert sorted(ours - shipped) == []


def test_nothing_else_is_shipped(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PRODUCT)


def test_defaults_are_the_files_at_the_top_of_the_repository(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    sources = [ROOT / "model.conf", *walk(ROOT / "policies")]
    assert len(sources) > 1
    for source in sources:
        name = source.relative_to(ROOT).as_posix()
        assert archive.read(f"gateway/defaults/{name}") == source.read_bytes(), name


def test_the_command_is_installed(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (entry_points,) = (name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt"))
    assert "comptroller = gateway.cli.main:main" in archive.read(entry_points).decode()
