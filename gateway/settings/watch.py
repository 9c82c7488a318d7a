"""Notices that files have changed, by looking at them now and then.

Rule: what is compared is what the file system says of a file, not its content, so that looking costs microseconds.
"""

import os
from collections.abc import Iterable
from pathlib import Path

Fingerprint = tuple[tuple[str, int, int, int, int], ...]

_FILES_MAX = 10_000


def fingerprint(paths: Iterable[Path]) -> Fingerprint:
    """Of files and of all files below directories. Changes when one is written, replaced (also behind a symbolic link),
    added or removed; a path that is not there counts as such."""
    seen: list[tuple[str, int, int, int, int]] = []
    for path in sorted(paths):
        seen.append(_state(path))
        if path.is_dir():
            for directory, directories, files in os.walk(path):
                directories.sort()
                seen += [_state(Path(directory, name)) for name in sorted(files)]
                if len(seen) > _FILES_MAX:
                    raise OSError(f"{path} holds more than {_FILES_MAX} files")
    return tuple(seen)


def _state(path: Path) -> tuple[str, int, int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return (str(path), 0, 0, 0, 0)
    if path.is_dir():
        # A directory's own times also change by files that are written beside and renamed; its files are listed anyway.
        return (str(path), status.st_ino, 0, 0, 0)
    return (str(path), status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class Watch:
    """Remembers how files looked. `changed` is asked by whoever polls; it answers yes once for each change."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = tuple(paths)
        self._last = fingerprint(self._paths)

    def changed(self) -> bool:
        now = fingerprint(self._paths)
        if now == self._last:
            return False
        self._last = now
        return True
