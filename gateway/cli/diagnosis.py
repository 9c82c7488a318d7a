"""What `comptroller doctor` looks at. Every line says what was found and, where something is wrong, what to do."""

import asyncio
import os
import platform
import shutil
import sqlite3
import ssl
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gateway.cli.api import Target, ask_running
from gateway.cli.checking import Found, look
from gateway.cli.output import FINDING, OK, print_json, say
from gateway.cli.reaching import Reach, can_listen, reach
from gateway.settings import Loaded
from gateway.storage.files import measure_fsync_ms
from gateway.wiring.providers import provider_faults
from gateway.wiring.tokens import try_tokens

PYTHON_MIN = (3, 11)
SQLITE_SOUND = (3, 51, 3)
FSYNC_SLOW_MS = 20.0
EARLIEST_YEAR = 2026
AHEAD_S = 60.0
FREE_BYTES_MIN = 1 << 30


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
    loaded, found = look(config)
    yield from _configuration(found)
    if loaded is None:
        yield _clock(None)
        return
    books = loaded.resolve(loaded.settings.storage.sqlite_path)
    yield _clock(books)
    yield from _disk(books)
    yield from _permissions(books)
    if books.exists():
        yield _damage(books)
    yield _port(loaded.settings.server.host, loaded.settings.server.port)
    yield from _others(loaded)
    if not provider_faults(loaded):
        yield from _tokens(loaded)
    status = ask_running(Target(config), "/status")
    yield from _capacity(status)
    yield from _health(status)


def _versions() -> Iterator[Symptom]:
    yield Symptom("comptroller", version("comptroller"), None)
    fresh = sys.version_info >= PYTHON_MIN
    yield Symptom("Python", platform.python_version(), fresh, "" if fresh else "use 3.11 or newer")
    sound = sqlite3.sqlite_version_info >= SQLITE_SOUND
    note = "before 3.51.3 two writers could corrupt a WAL; here one connection alone writes and checkpoints"
    yield Symptom("SQLite", sqlite3.sqlite_version, True if sound else None, "" if sound else note)
    yield Symptom("OpenSSL", ssl.OPENSSL_VERSION, None)


def _configuration(found: list[Found]) -> Iterator[Symptom]:
    faults = [str(each) for each in found if each.fault]
    told = "sound" if not faults else "one fault" if len(faults) == 1 else f"{len(faults)} faults"
    first = [line.strip() for line in faults[0].splitlines()] if faults else []
    more = ["`comptroller check` lists all"] if len(faults) > 1 else []
    yield Symptom("configuration", told, not faults, "\n      ".join((*first, *more)))
    for each in found:
        if not each.fault:
            yield Symptom("configuration", str(each).partition("\n")[0], None, each.hint)


def _clock(books: Path | None) -> Symptom:
    """Against the calendar, and against what was last written here."""
    now_s = time.time()
    shown = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now_s))
    fix = "set the clock (NTP): windows, prices and expiry dates go by it"
    if time.gmtime(now_s).tm_year < EARLIEST_YEAR:
        return Symptom("clock", shown, False, fix)
    if books is not None and books.exists() and (ahead_s := books.stat().st_mtime - now_s) > AHEAD_S:
        return Symptom("clock", f"{shown}, {ahead_s:.0f} s behind the last write to {books}", False, fix)
    return Symptom("clock", shown)


def _disk(books: Path) -> Iterator[Symptom]:
    """Of the nearest parent that is there: a first start makes the rest."""
    where = next(parent for parent in books.absolute().parents if parent.exists())
    try:
        taken_ms = measure_fsync_ms(where)
    except OSError as error:
        fix = f"let this user write to {where}, or set storage.url"
        yield Symptom("books", f"{where} cannot be written: {error.strerror or error}", False, fix)
        return
    fast = taken_ms < FSYNC_SLOW_MS
    fix = "" if fast else "every group of calls waits for one fsync: put the books on a faster disk"
    yield Symptom("fsync", f"{taken_ms:.2f} ms in {where}", fast, fix)
    free_bytes = shutil.disk_usage(where).free
    roomy = free_bytes >= FREE_BYTES_MIN
    fix = "" if roomy else "make room: on a full disk no call is let in"
    yield Symptom("disk", f"{free_bytes / (1 << 30):.1f} GiB free", roomy, fix)


def _permissions(books: Path) -> Iterator[Symptom]:
    for path in (books, books.with_name(f"{books.name}.key")):
        if path.exists():
            mode = stat.S_IMODE(path.stat().st_mode)
            private = not mode & 0o077
            yield Symptom(f"permissions of {path.name}", f"{mode:04o}", private, "" if private else f"chmod 600 {path}")


def _damage(books: Path) -> Symptom:
    """What SQLite says of the whole file; `comptroller audit verify` says what the books say of themselves."""
    try:
        with closing(sqlite3.connect(f"{books.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            (said,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.Error as error:
        said = str(error)
    whole = said == "ok"
    fix = "" if whole else "restore the database and its .key file from a backup"
    return Symptom("books", f"{books} is whole" if whole else f"{books}: {said}", whole, fix)


def _port(host: str, port: int) -> Symptom:
    problem = can_listen(host, port)
    if problem is None:
        return Symptom("port", f"{host}:{port} is free")
    return Symptom("port", f"{host}:{port} cannot be taken: {problem}", None, "fine if that is the running server")


def _others(loaded: Loaded) -> Iterator[Symptom]:
    """Providers and tool servers: a TCP connection to the configured address, and nothing more."""
    for name, provider in loaded.settings.providers.items():
        if provider.url is not None:
            yield _reached(f"provider {name}", reach(provider.url))
    for name, server in loaded.settings.mcp.servers.items():
        if server.url is not None:
            yield _reached(f"tool server {name}", reach(server.url))
        elif server.command:
            there = shutil.which(server.command[0], path=os.environ.get("PATH")) is not None
            fix = "" if there else f"install {server.command[0]}, or put it on the PATH of the gateway"
            found = "its program is there" if there else f"no program {server.command[0]}"
            yield Symptom(f"tool server {name}", found, there, fix)


def _tokens(loaded: Loaded) -> Iterator[Symptom]:
    """A token is asked for, as a call would; nothing is sent to the provider."""
    for tried in asyncio.run(try_tokens(loaded)):
        what = f"tokens of {tried.provider}"
        if tried.problem is None:
            yield Symptom(what, f"given by {tried.url}, each for {tried.lifetime_s / 60:.0f} min")
        else:
            fix = f"look at the credential's ids, its end and its rights, and whether {tried.url} is the right address"
            yield Symptom(what, tried.problem, False, fix)


def _capacity(status: dict[str, Any] | None) -> Iterator[Symptom]:
    """How a running server stands with what its providers take."""
    for each in [] if status is None else status["capacity"]:
        what = f"capacity of {each['provider']}"
        bound = "" if each["concurrent"] is None else f" of {each['concurrent']}"
        yield Symptom(
            what, f"{each['in_flight']}{bound} in flight, {each['waiting']} waiting, {each['refused']} refused"
        )
        for model in each["models"]:
            found = [f"{model['in_flight_max']} in flight at most"] if model["in_flight_max"] is not None else []
            found += [f"paused for {model['paused_s']:.0f} s"] if model["paused_s"] else []
            if found:
                yield Symptom(
                    what, f"it slows {model['model']} down: {', '.join(found)}", None, "its own limits are reached"
                )


def _health(status: dict[str, Any] | None) -> Iterator[Symptom]:
    """Which deployments and credentials of a running server are left alone."""
    for each in [] if status is None else status["deployments"]:
        if each["state"] != "closed":
            found = f"failed {each['failures_in_a_row']} times in a row; nothing is sent for {each['opens_in_s']:.0f} s"
            fix = "look at the provider's status page, and at its address; calls go on by themselves once one succeeds"
            yield Symptom(f"{each['model']} at {each['provider']}", found, False, fix)
        elif each["rests_s"]:
            found = f"asked for a pause of {each['rests_s']:.0f} s more"
            yield Symptom(f"{each['model']} at {each['provider']}", found, None, "its own limits are reached")
    for each in [] if status is None else status["providers"]:
        if each["credentials_resting"]:
            found = f"{each['credentials_resting']} of {each['credentials']} were refused lately"
            fix = "check the keys; a new one by the same reference is taken up with a reload"
            yield Symptom(f"credentials of {each['provider']}", found, None, fix)


def _reached(what: str, found: Reach) -> Symptom:
    if found.problem is None:
        return Symptom(what, f"{found.address} answers")
    fix = "check the address, the network and the firewall; calls to it fail until it answers"
    return Symptom(what, f"{found.address} cannot be reached: {found.problem}", False, fix)
