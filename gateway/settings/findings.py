"""What is wrong with a configuration, said so that a person can mend it: where, what, and what to do.

Rule: a message never repeats a value that came out of the environment or a secret file, nor any secret.
"""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SettingPath = tuple[str | int, ...]
"""`("limits", 2, "tokens")`: the keys and list positions that lead to a value of the file."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault or a warning. Line and column count from 1; both are 0 where no file is involved."""

    path: SettingPath
    line: int
    column: int
    message: str
    hint: str = ""
    file: str = ""

    @property
    def setting(self) -> str:
        return dotted(self.path)

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}: " if self.line else ""
        subject = f"{self.setting}: " if self.path else ""
        return f"{place}{subject}{self.message}" + (f"\n    {self.hint}" if self.hint else "")


class SettingsError(Exception):
    """A configuration that is refused. `findings` holds every fault found, in the order of the file."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(sorted(findings, key=lambda f: (f.line, f.column)))
        super().__init__("\n".join(map(str, self.findings)))


@dataclass(frozen=True, slots=True)
class Flaw:
    """One fault of a value, before its place is known. `at` leads from the value to the part that is at fault."""

    message: str
    hint: str = ""
    at: SettingPath = ()


class Fault(ValueError):
    """Raised by validators, so that pydantic carries it to where places are known."""

    def __init__(self, message: str, hint: str = "", at: SettingPath = ()) -> None:
        super().__init__(message)
        self.flaws: tuple[Flaw, ...] = (Flaw(message, hint, at),)

    @classmethod
    def of(cls, flaws: Sequence[Flaw]) -> "Fault":
        fault = cls(flaws[0].message)
        fault.flaws = tuple(flaws)
        return fault


def dotted(path: SettingPath) -> str:
    """`limits[2].tokens`"""
    words = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in path]
    return "".join(words).removeprefix(".")


def suggestion(word: str, known: Iterable[str], *, otherwise: str = "known here") -> str:
    """`did you mean ...?`, or the list of what there is."""
    names = sorted(set(known))
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean `{close[0]}`?"
    return f"{otherwise}: {', '.join(names)}" if names else ""
