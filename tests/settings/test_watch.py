import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.settings import Watch, fingerprint


def _write(path: Path) -> None:
    path.write_text("changed")


def _replace(path: Path) -> None:
    fresh = path.with_name("fresh")
    fresh.write_text(path.read_text())
    fresh.replace(path)


def _same_size(path: Path) -> None:
    before = path.stat()
    path.write_text(path.read_text().upper())
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))


def _remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("change", [_write, _replace, _same_size, _remove])
def test_a_changed_file_is_noticed_once(tmp_path: Path, change: Callable[[Path], None]) -> None:
    file = tmp_path / "comptroller.yaml"
    file.write_text("before")
    watch = Watch([file])
    assert not watch.changed()
    change(file)
    assert watch.changed()
    assert not watch.changed()


def test_files_below_a_directory_are_watched(tmp_path: Path) -> None:
    (tmp_path / "policies" / "teams").mkdir(parents=True)
    watch = Watch([tmp_path / "policies", tmp_path / "absent"])
    (tmp_path / "policies" / "teams" / "a.csv").write_text("p")
    assert watch.changed()
    (tmp_path / "policies" / "teams" / "a.csv").unlink()
    assert watch.changed()
    (tmp_path / "absent").write_text("now here")
    assert watch.changed()
    assert not watch.changed()


def test_a_swapped_symbolic_link_is_a_change(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "comptroller.yaml").write_text("same")
    current, fresh = tmp_path / "current", tmp_path / "fresh"
    current.symlink_to("one")
    watch = Watch([current / "comptroller.yaml"])
    fresh.symlink_to("two")
    fresh.replace(current)
    assert watch.changed()


def test_the_order_of_paths_does_not_matter(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("1")
    assert fingerprint([one, two]) == fingerprint([two, one])
