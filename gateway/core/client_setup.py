"""How a program that calls models is pointed at this gateway: environment, files, a line to run, what to know.

Rule: no setup holds a key. Each names the variable that has it, in the way that its program reads variables.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

KEY_VARIABLE = "COMPTROLLER_API_KEY"


class Place(StrEnum):
    """Where a file belongs: beside the code that is worked on, or in the person's home directory."""

    PROJECT = "project"
    HOME = "home"


@dataclass(frozen=True, slots=True)
class JsonFile:
    """Settings to be merged into a JSON file."""

    place: Place
    path: str
    settings: Mapping[str, Any]

    def text(self) -> str:
        return json.dumps(self.settings, indent=2) + "\n"


@dataclass(frozen=True, slots=True)
class TomlFile:
    """Settings to be added to a TOML file: top-level lines must stand before every table, tables after all else."""

    place: Place
    path: str
    top: str
    tables: str

    def text(self) -> str:
        return f"{self.top}\n{self.tables}"


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file that is ours alone: it is written where none is there."""

    place: Place
    path: str
    content: str

    def text(self) -> str:
        return self.content


SetupFile = JsonFile | TomlFile | TextFile


@dataclass(frozen=True, slots=True)
class Setup:
    """What one program needs. `run` = a first command with it, "" where it is started otherwise."""

    name: str
    title: str
    environment: tuple[tuple[str, str], ...] = ()
    files: tuple[SetupFile, ...] = ()
    run: str = ""
    notes: tuple[str, ...] = ()

    def exports(self) -> str:
        """The environment as lines for a shell; values may name other variables."""
        return "".join(f'export {name}="{value}"\n' for name, value in self.environment)


def shown_path(file: SetupFile) -> str:
    return f"~/{file.path}" if file.place is Place.HOME else file.path


class SetupConflict(Exception):
    """A file already says otherwise; the message names where."""


def merged(there: Mapping[str, Any], ours: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """`there` with our settings added. Raises SetupConflict where a setting has another value: it is somebody's."""
    result = dict(there)
    for name, value in ours.items():
        at = f"{path}.{name}" if path else name
        old = result.get(name)
        if old is None:
            result[name] = value
        elif isinstance(old, Mapping) and isinstance(value, Mapping):
            result[name] = merged(old, value, at)
        elif old != value:
            raise SetupConflict(f"`{at}` is already set to {json.dumps(old)}")
    return result
