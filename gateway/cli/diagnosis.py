"""What `comptroller doctor` looks at. Every line says what was found and, where something is wrong, what to do."""

import os
import platform
import socket
import sqlite3
import ssl
import stat
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

from gateway.cli.checking import findings
from gateway.cli.output import FINDING, OK, print_json, say
from gateway.settings import Loaded, SettingsError, load
from gateway.storage.files import measure_fsync_ms

SQLITE_SOUND = (3, 51, 3)
FSYNC_SLOW_MS = 20.0
EARLIEST_YEAR = 2026
REACH_S = 3.0


@dataclass(frozen=True, slots=True)
class Symptom:
    """`ok` None = worth knowing, nothing to do."""

    what: str
    found: str
    ok: bool | None = True
    fix: str = ""


def run(config: Path | None, *, as_json: bool) -> int:
    """Returns the exit code: 1 if something should be mended."""
    symptoms = list(_all(config))
    if as_json:
        print_json([asdict(symptom) for symptom in symptoms])
    else:
        for symptom in symptoms:
            mark = {True: "ok  ", False: "MEND", None: "note"}[symptom.ok]
            say(f"{mark}  {symptom.what}: {symptom.found}" + (f"\n      {symptom.fix}" if symptom.fix else ""))
    return FINDING if any(symptom.ok is False for symptom in symptoms) else OK


def _all(config: Path | None) -> Iterator[Symptom]:
    yield from _versions()
    yield _clock()
    faults, _ = findings(config)
    fix = "" if not faults else faults[0]
    yield Symptom("configuration", f"{len(faults)} faults" if faults else "sound", not faults, fix)
    loaded = _loaded(config)
    if loaded is None:
        return
    books = loaded.resolve(loaded.settings.storage.sqlite_path)
    yield _fsync(books.parent)
    yield from _permissions(books)
    yield _port(loaded.settings.server.host, loaded.settings.server.port)
    for name, provider in loaded.settings.providers.items():
        if provider.url is not None:
            yield _reach(f"provider {name}", provider.url)


def _loaded(config: Path | None) -> Loaded | None:
    path = config if config is not None else Path("comptroller.yaml")
    if not path.exists():
        return None
    try:
        return load(path, dict(_environment()))
    except SettingsError:
        return None


def _environment() -> dict[str, str]:
    return dict(os.environ)


def _versions() -> Iterator[Symptom]:
    yield Symptom("comptroller", version("comptroller"), None)
    python = platform.python_version()
    yield Symptom(
        "Python", python, sys.version_info >= (3, 11), "" if sys.version_info >= (3, 11) else "use 3.11 or newer"
    )
    sound = sqlite3.sqlite_version_info >= SQLITE_SOUND
    note = "before 3.51.3 two writers could corrupt a WAL; here one connection alone writes and checkpoints"
    yield Symptom("SQLite", sqlite3.sqlite_version, True if sound else None, "" if sound else note)
    yield Symptom("OpenSSL", ssl.OPENSSL_VERSION, None)


def _clock() -> Symptom:
    year = time.gmtime().tm_year
    ok = year >= EARLIEST_YEAR
    fix = "" if ok else "set the clock: windows, prices and expiry dates go by it"
    return Symptom("clock", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), ok, fix)


def _fsync(directory: Path) -> Symptom:
    where = directory if directory.exists() else Path()
    taken_ms = measure_fsync_ms(where)
    fast = taken_ms < FSYNC_SLOW_MS
    fix = "" if fast else "every group of calls waits for one fsync: put the books on a faster disk"
    return Symptom("fsync", f"{taken_ms:.2f} ms in {where}", fast, fix)


def _permissions(books: Path) -> Iterator[Symptom]:
    for path in (books, books.with_name(f"{books.name}.key")):
        if path.exists():
            mode = stat.S_IMODE(path.stat().st_mode)
            private = not mode & 0o077
            yield Symptom(f"permissions of {path.name}", oct(mode), private, "" if private else f"chmod 600 {path}")


def _port(host: str, port: int) -> Symptom:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return Symptom(
                "port", f"{host}:{port} is not free ({error.strerror})", None, "fine if the server is running"
            )
    return Symptom("port", f"{host}:{port} is free")


def _reach(what: str, url: str) -> Symptom:
    """A TCP connection to a configured address, and nothing more."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), REACH_S).close()
    except OSError as error:
        return Symptom(what, f"{parts.hostname}:{port} cannot be reached", False, str(error.strerror or error))
    return Symptom(what, f"{parts.hostname}:{port} answers")
