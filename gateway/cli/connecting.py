"""What `comptroller connect` prints and writes. Files that say otherwise are somebody's: nothing is written then."""

import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.cli.lazy import load
from gateway.cli.output import FINDING, OK, UNAVAILABLE, USAGE, fail, print_json, say
from gateway.core.client_setup import (
    KEY_VARIABLE,
    JsonFile,
    Place,
    Setup,
    SetupConflict,
    SetupFile,
    TomlFile,
    merged,
    shown_path,
)
from gateway.core.client_setups import SETUPS

DEFAULT_URL = "http://127.0.0.1:8080"
MODELS_S = 5.0
OK_STATUS = 200
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,199}")
_ADDRESS = re.compile(r"https?://[A-Za-z0-9.:\[\]_-]+(/[A-Za-z0-9._/-]*)?")


def run(client: str, url: str | None, model: str | None, directory: Path, *, write: bool, as_json: bool) -> int:
    """Returns the exit code."""
    if client not in SETUPS:
        fail(f"'{client}' is not known; known are {', '.join(SETUPS)}", USAGE)
    address = (url or os.environ.get("COMPTROLLER_URL") or DEFAULT_URL).rstrip("/")
    if not _ADDRESS.fullmatch(address):
        fail(f"'{address}' is not an address such as {DEFAULT_URL}", USAGE)
    name = model or _first_model(address)
    if not _NAME.fullmatch(name):
        fail(f"'{name}' is not the name of a model", USAGE)
    setup = SETUPS[client](address, name)
    written = _write(setup, directory) if write else []
    if as_json:
        print_json(_document(setup, written))
    elif write:
        _tell_written(setup, written)
    else:
        _print(setup)
    return OK


def _first_model(address: str) -> str:
    """The first model that the key at hand may use; a setup names one."""
    key = os.environ.get(KEY_VARIABLE)
    if not key:
        fail(f"name a model with --model, or put the key into {KEY_VARIABLE} to have one looked up", USAGE)
    httpx2 = load("httpx2")
    try:
        answer = httpx2.get(f"{address}/v1/models", headers={"Authorization": f"Bearer {key}"}, timeout=MODELS_S)
        listed = answer.json()["data"] if answer.status_code == OK_STATUS else None
    except (httpx2.HTTPError, ValueError, KeyError):
        fail(f"{address} does not answer; name a model with --model", UNAVAILABLE)
    if listed is None:
        fail(f"{address} does not tell its models: status {answer.status_code}; name one with --model", UNAVAILABLE)
    if not listed:
        fail("this key may use no model", FINDING)
    return str(listed[0]["id"])


def _print(setup: Setup) -> None:
    say(f"# {setup.title}")
    if setup.environment:
        say(f"\n# in your shell, where {KEY_VARIABLE} holds the key:\n{setup.exports().rstrip()}")
    for file in setup.files:
        say(f"\n# {shown_path(file)}\n{file.text().rstrip()}")
    if setup.run:
        say(f"\n# then\n{setup.run}")
    for note in setup.notes:
        say(f"\n# {note}")


def _document(setup: Setup, written: list[str]) -> dict[str, Any]:
    return {
        "client": setup.name,
        "environment": dict(setup.environment),
        "files": [{"path": shown_path(file), "content": file.text()} for file in setup.files],
        "run": setup.run,
        "notes": list(setup.notes),
        "written": written,
    }


def _tell_written(setup: Setup, written: list[str]) -> None:
    for name in written:
        say(f"wrote {name}")
    if not written:
        say("Everything is in place already.")
    if setup.environment:
        say(f"\nIn your shell, where {KEY_VARIABLE} holds the key:\n{setup.exports().rstrip()}")
    if setup.run:
        say(f"\nThen:\n  {setup.run}")
    for note in setup.notes:
        say(f"\n{note}")


def _write(setup: Setup, directory: Path) -> list[str]:
    """The files that were written. All are looked at before the first one is touched."""
    texts: dict[Path, str] = {}
    for file in setup.files:
        path = (Path.home() if file.place is Place.HOME else directory) / file.path
        try:
            there = path.read_text("utf-8")
        except FileNotFoundError:
            texts[path] = file.text()
            continue
        except (OSError, UnicodeDecodeError) as error:
            fail(f"{path} cannot be read: {error}", FINDING)
        try:
            text = _added(file, there)
        except (SetupConflict, ValueError) as error:
            why = error if isinstance(error, SetupConflict) else "it cannot be read as what it should be"
            fail(f"{path} is left as it is: {why}. Nothing was written; without --write you see what belongs in it.", 1)
        if text != there:
            texts[path] = text
    for path, text in texts.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _replace(path, text)
        except OSError as error:
            fail(f"{error.filename or path} cannot be written: {error.strerror}", USAGE)
    return [str(path) for path in texts]


def _added(file: SetupFile, there: str) -> str:
    """The text of a file with our settings. Raises SetupConflict, or ValueError for a file that is broken."""
    if isinstance(file, JsonFile):
        old = json.loads(there or "{}")
        if not isinstance(old, Mapping):
            raise ValueError("not an object")
        new = merged(old, file.settings)
        return there if new == old else json.dumps(new, indent=2, ensure_ascii=False) + "\n"
    if isinstance(file, TomlFile):
        old = tomllib.loads(there)
        if merged(old, tomllib.loads(file.text())) == old:
            return there
        return _with_toml(file, old, there)
    if there != file.text():
        raise SetupConflict("it is there already and says something else")
    return there


def _with_toml(file: TomlFile, old: Mapping[str, Any], there: str) -> str:
    """Ours before and behind what is there, which keeps its comments; so a table that is half there is not ours."""
    top = "".join(f"{line}\n" for line in file.top.splitlines() if line.partition(" =")[0] not in old)
    tables = ""
    for table in file.tables.split("\n\n"):
        ((outer, inner),) = tomllib.loads(table).items()
        ((name, value),) = inner.items()
        found = old.get(outer, {}).get(name)
        if found is None:
            tables += f"\n{table.rstrip()}\n"
        elif merged(found, value) != found:
            raise SetupConflict(f"`{outer}.{name}` is there already and lacks settings")
    return f"{top}{there.rstrip()}\n{tables}"


def _replace(path: Path, text: str) -> None:
    """In one step: a program that starts now reads the old file or the new one. A link stays a link."""
    target = path.resolve()
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        if target.exists():
            beside.chmod(target.stat().st_mode & 0o777)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
