"""Loads `comptroller.yaml`: reads, resolves references, validates, and reports every fault at its line and column."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from gateway.settings.crosscheck import Located, cautions, cross_faults, secret_faults
from gateway.settings.document import Document, Spot, read
from gateway.settings.explain import explain
from gateway.settings.findings import Finding, Flaw, SettingPath, SettingsError
from gateway.settings.references import References
from gateway.settings.root import Settings
from gateway.settings.unbuilt import refuse_unbuilt


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an effective value comes from. `references`: the variables and files that a value of the file names."""

    source: Literal["default", "file"]
    file: str = ""
    line: int = 0
    column: int = 0
    references: tuple[str, ...] = ()


DEFAULT = Origin("default")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that may be used. `sources` are the files it was read from; `directory` is what relative paths
    start from."""

    settings: Settings
    warnings: tuple[Finding, ...] = ()
    sources: tuple[Path, ...] = ()
    directory: Path = field(default_factory=Path)
    file: str = ""
    _spots: Mapping[SettingPath, Spot] = field(default_factory=dict, repr=False)
    _references: Mapping[SettingPath, tuple[str, ...]] = field(default_factory=dict, repr=False)

    def origin(self, path: SettingPath) -> Origin:
        """Of the value at a path of the file, e.g. `("sessions", "wall_time")`."""
        spot = self._spots.get(path)
        if spot is None:
            return DEFAULT
        return Origin("file", self.file, spot.value.line, spot.value.column, self._references.get(path, ()))

    def finding(self, path: SettingPath, message: str, hint: str = "") -> Finding:
        """A fault that shows only when the settings are put to use, at its place in the file."""
        document = Document(self.file, spots=dict(self._spots))
        if not self._spots:
            return Finding(path, 0, 0, message, hint, self.file)
        return document.finding(path, Flaw(message, hint))

    def resolve(self, path: str) -> Path:
        """A path of the configuration as seen from here."""
        return self.directory / path


def load(path: Path, environment: Mapping[str, str]) -> Loaded:
    """Raises SettingsError with all findings."""
    try:
        content = path.read_bytes()
    except OSError as error:
        hint = "`comptroller init` writes one"
        finding = Finding((), 0, 0, f"{path} cannot be read: {error.strerror}", hint, str(path))
        raise SettingsError([finding]) from None
    return parse(content, environment, path=path)


def parse(content: bytes, environment: Mapping[str, str], *, path: Path) -> Loaded:
    """As `load`, for content that was read before. `path` is what messages name and relative paths start from."""
    document = read(content, str(path), References(environment, path.parent))
    settings = _validated(document)
    warnings = [*document.warnings, *(document.finding(*located) for located in cautions(settings))]
    return Loaded(
        settings,
        tuple(sorted(warnings, key=lambda finding: (finding.line, finding.column))),
        tuple(dict.fromkeys((path, *document.files))),
        path.parent,
        str(path),
        document.spots,
        document.references,
    )


def _validated(document: Document) -> Settings:
    root, unbuilt = refuse_unbuilt(document.root)
    faults = list(document.faults)
    faults += _first_of_each(document, unbuilt, faults)
    faults += _first_of_each(document, cross_faults(document.root), faults)
    try:
        settings = Settings.model_validate(root, by_alias=True, by_name=False)
    except ValidationError as error:
        known = [finding.path for finding in faults]
        faults += [
            document.finding(path, flaw, at_key=at_key)
            for path, flaw, at_key in explain(error, document)
            if not any(_same_branch((*path, *flaw.at), other) for other in known)
        ]
    else:
        faults += [document.finding(*located) for located in secret_faults(settings)]
        if not faults:
            return settings
    raise SettingsError(faults)


def _first_of_each(document: Document, located: Iterable[Located], reported: list[Finding]) -> Iterator[Finding]:
    """Findings, but none for a value that was reported: what follows from a fault is noise."""
    known = [finding.path for finding in reported]
    return (document.finding(path, flaw) for path, flaw in located if not any(_same_branch(path, k) for k in known))


def _same_branch(path: SettingPath, other: SettingPath) -> bool:
    """Whether one path is the other or leads to it. The root itself, where syntax is reported, is nobody's branch."""
    length = min(len(path), len(other))
    return length > 0 and path[:length] == other[:length]
