"""Finds and reads the files of a policy, and tells whether they have changed."""

from dataclasses import dataclass
from pathlib import Path

from gateway.policy.findings import Finding, PolicyInvalid
from gateway.policy.reader import PolicyFile

EXPECTATIONS_NAME = "tests.yaml"
# One file as the file system knows it; zeros and the error's name where it cannot be looked at.
FileState = tuple[str, str, int, int, int]


@dataclass(frozen=True, slots=True)
class PolicySource:
    """Where a policy stands: `model` and `files` (rows, or directories of them) under `root`, as decisions name them.

    A directory is read in the order of names: every `*.csv`, and its `tests.yaml`. Hidden names are left alone.
    """

    root: Path
    model: str = "model.conf"
    files: tuple[str, ...] = ("policies/",)


@dataclass(frozen=True, slots=True)
class PolicyContent:
    model: PolicyFile
    rows: tuple[PolicyFile, ...]
    expectations: tuple[PolicyFile, ...]


def read_source(source: PolicySource) -> PolicyContent:
    """Raises PolicyInvalid where a file is missing, cannot be read, or would be overlooked."""
    findings: list[Finding] = []
    before = fingerprint(source)
    paths = _paths(source, findings)
    contents = [_read(source.root, path, findings) for path in (source.model, *paths)]
    if not findings and fingerprint(source) != before:
        findings.append(Finding(source.model, 0, 0, "the policy changed while it was read", "load it again"))
    if findings:
        raise PolicyInvalid(tuple(sorted(findings)))
    model, *others = contents
    rows = tuple(file for file in others if file.path.endswith(".csv"))
    return PolicyContent(model, rows, tuple(file for file in others if not file.path.endswith(".csv")))


def fingerprint(source: PolicySource) -> tuple[FileState, ...]:
    """Differs after any file of the policy was written, replaced, added, removed, or its link was turned elsewhere."""
    states: list[FileState] = []
    for path in dict.fromkeys((source.model, *source.files, *_paths(source, []))):
        try:
            real = (source.root / path).resolve(strict=True)
            status = real.stat()
            states.append((path, str(real), status.st_mtime_ns, status.st_size, status.st_ino))
        except (OSError, RuntimeError) as error:
            states.append((path, type(error).__name__, 0, 0, 0))
    return tuple(states)


def _read(root: Path, path: str, findings: list[Finding]) -> PolicyFile:
    try:
        return PolicyFile(path, (root / path).read_bytes())
    except OSError as error:
        there = not isinstance(error, FileNotFoundError)
        fix = "make the file readable" if there else "put it there (`comptroller init` writes one), or correct `policy`"
        findings.append(Finding(path, 0, 0, f"cannot be read: {error.strerror}", fix))
        return PolicyFile(path, b"")


def _paths(source: PolicySource, findings: list[Finding]) -> list[str]:
    paths: list[str] = []
    for name in source.files:
        if _is_directory(source.root / name):
            paths += _paths_in(source.root, name.rstrip("/"), findings)
        elif name.endswith(".csv") or Path(name).name == EXPECTATIONS_NAME:
            paths.append(name)
        else:
            message = "is neither a directory, nor a .csv file, nor tests.yaml"
            findings.append(Finding(name, 0, 0, message, "name a file or directory that is there"))
    if not any(path.endswith(".csv") for path in paths):
        findings.append(
            Finding(", ".join(source.files), 0, 0, "no .csv file here", "write one, or correct policy.files")
        )
    return list(dict.fromkeys(paths))


def _paths_in(root: Path, directory: str, findings: list[Finding]) -> list[str]:
    paths: list[str] = []
    try:
        entries = sorted((root / directory).iterdir())
    except OSError as error:
        findings.append(Finding(directory, 0, 0, f"cannot be read: {error.strerror}", "make the directory readable"))
        return paths
    for entry in entries:
        path = f"{directory}/{entry.name}"
        if entry.name.startswith("."):
            continue
        if _is_directory(entry):
            if any(entry.glob("*.csv")):
                findings.append(Finding(path, 0, 0, "rows in a subdirectory are not read", "add it to policy.files"))
        elif entry.name.endswith(".csv") or entry.name == EXPECTATIONS_NAME:
            paths.append(path)
        elif fix := _overlooked(entry.name):
            findings.append(Finding(path, 0, 0, "this file is not read under its name", fix))
    return paths


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _overlooked(name: str) -> str | None:
    """A file that someone may take for a part of the policy though it is not."""
    lower = name.lower()
    if lower.endswith((".csv", ".csv.txt", ".cvs")):
        return "let its name end in .csv"
    if lower in ("tests.yml", "test.yaml", "test.yml", "tests.yaml"):
        return f"call it {EXPECTATIONS_NAME}"
    return None
