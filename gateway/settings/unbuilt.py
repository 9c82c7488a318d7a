"""What the configuration will be able to say but cannot yet: refused by name rather than ignored (rule 35).

To build a part, delete its row here and give it a model.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gateway.settings.findings import Flaw, SettingPath
from gateway.settings.tree import Value, select, without

PLANNED = "is not built yet (planned)"


@dataclass(frozen=True, slots=True)
class UnbuiltSetting:
    """A key that no model knows. Empty values of it are let pass and dropped."""

    path: tuple[str, ...]
    what: str


@dataclass(frozen=True, slots=True)
class UnbuiltValue:
    """Values of a known key. `instead` is what to write."""

    path: tuple[str, ...]
    what: str
    refuses: Callable[[Value], bool]
    instead: str


def _starts(*prefixes: str) -> Callable[[Value], bool]:
    return lambda value: isinstance(value, str) and value.startswith(prefixes)


UNBUILT_SETTINGS = (
    UnbuiltSetting(("admin", "oidc"), "login by OpenID Connect"),
    UnbuiltSetting(("identity",), "keys of other issuers"),
    UnbuiltSetting(("retention",), "dropping old books"),
)

UNBUILT_VALUES = (
    UnbuiltValue(("counters", "url"), "Redis", _starts("redis://", "rediss://"), "write `memory://`"),
    UnbuiltValue(
        ("server", "workers"),
        "serving by several processes",
        lambda value: isinstance(value, str) and value.isdigit() and int(value) > 1,
        "write `1`",
    ),
    UnbuiltValue(
        ("storage", "url"),
        "Postgres",
        _starts("postgres://", "postgresql://", "postgresql+"),
        "write `sqlite:///var/comptroller.db`",
    ),
)


def refuse_unbuilt(root: dict[str, Value]) -> tuple[dict[str, Value], list[tuple[SettingPath, Flaw]]]:
    """The tree without what is not built, and a flaw for each part that says something."""
    flaws = [(path, flaw) for path, _, flaw in _found(root) if flaw is not None]
    rest: Value = root
    for _, dropped, _ in _found(root):
        rest = without(rest, dropped)
    return (rest if isinstance(rest, dict) else {}), flaws


def _found(root: dict[str, Value]) -> Iterator[tuple[SettingPath, SettingPath, Flaw | None]]:
    for setting in UNBUILT_SETTINGS:
        for path, value in select(root, setting.path):
            flaw = Flaw(f"`{setting.path[-1]}` {PLANNED}; remove it", f"it will be for {setting.what}")
            yield path, path, flaw if _says_something(value) else None
    for row in UNBUILT_VALUES:
        for path, value in select(root, row.path):
            if row.refuses(value):
                yield path, path, Flaw(f"{row.what} {PLANNED}; {row.instead}")


def _says_something(value: Value) -> bool:
    if isinstance(value, dict):
        return any(map(_says_something, value.values()))
    if isinstance(value, tuple):
        return any(map(_says_something, value))
    return value is not None and value.lower() not in ("", "false", "off")
