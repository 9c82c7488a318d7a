"""A real gateway in a process of its own, for end-to-end tests: `comptroller serve` on a configuration in a directory.

    gateway = GatewayProcess(tmp_path, upstream.base_url, limits=[{"name": "l", "each": "session", "tokens": 1000}])
    with gateway:                                   # writes the configuration, starts, waits for /readyz
        client = OpenAI(base_url=gateway.base_url, api_key=gateway.keys["alice"])
        ...
        gateway.quiesce()                           # nothing is held any more: everything is booked
        assert gateway.rows("SELECT * FROM calls") and gateway.cli("usage", "--json").json

Models: `small` (upstream name `mock-ok`: 1 micro-USD an input token, 2 an output token) and one for each further name
of `models` (a mapping is the section itself). Keys: `alice` (user alice, team platform, app ci, agent reviewer) and
`bob` (user bob, team support), unless `keys` says otherwise. Whatever is given as a section replaces that section.
"""

import contextlib
import json
import os
import secrets
import signal
import sqlite3
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self, TypeVar

import yaml
from prometheus_client.parser import text_string_to_metric_families

from gateway.core.identity import make_secret
from tests.support.forked import Forked

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 40.0
PRICE = {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2}
"""A micro-USD an input token, two an output token: what a call costs can be said in one's head."""

ALICE = {"name": "alice", "user": "alice", "team": "platform", "app": "ci", "agent": "reviewer"}
BOB = {"name": "bob", "user": "bob", "team": "support"}
OPEN_POLICY = """\
p, role:everyone, *, *, model:invoke, , allow
p, role:everyone, *, *, tool:list, , allow
p, role:everyone, *, *, tool:call, , allow

# rows: 3
"""
POLICY_TESTS = """\
- as: {user: alice}
  model: small
  expect: allow
  because: the tests call it
"""

T = TypeVar("T")


def eventually(look: Callable[[], T | None], *, timeout_s: float = 10.0, what: str = "it") -> T:
    """The first truthy value of `look`; polls, because what happens in another process has no event here."""
    deadline = time.monotonic() + timeout_s
    while not (found := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {timeout_s:g} s; last seen: {found!r}")
        time.sleep(0.02)
    return found


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Reply:
    """A reply of the admin API."""

    status: int
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class GatewayProcess:
    """See the module. `kill`, `terminate` and `restart` act on the process; the directory stays."""

    def __init__(
        self,
        directory: Path,
        upstream_url: str,
        *,
        server: str = "hypercorn",
        fast_path: bool = True,
        models: Sequence[str] | Mapping[str, Any] = (),
        keys: Sequence[Mapping[str, Any]] = (ALICE, BOB),
        policy: str = OPEN_POLICY,
        policy_tests: str = POLICY_TESTS,
        provider_key: str = "sk-upstream-for-tests",
        variables: Mapping[str, str] = MappingProxyType({}),
        **sections: Any,
    ) -> None:
        self.directory = directory
        self.config_file = directory / "comptroller.yaml"
        self.policy_file = directory / "policies" / "10-test.csv"
        self.books_file = directory / "var" / "comptroller.db"
        self.output_file = directory / "output.txt"
        self.admin_token = f"cptr_admin_{secrets.token_urlsafe(32)}"
        self.provider_key = provider_key
        self._variables = dict(variables)
        self.keys = {key["name"]: make_secret(secrets.randbits(192)) for key in keys}
        self.config = self._config(upstream_url, server, fast_path, models, keys, sections)
        self._policy, self._policy_tests = policy, policy_tests
        self._process: Forked | None = None
        self._starts_at = 0
        self.port = 0

    def __enter__(self) -> Self:
        self.write()
        return self.start()

    def __exit__(self, *args: object) -> None:
        self.stop()

    # Files

    def write(self) -> None:
        """Writes configuration and policy."""
        (self.directory / "policies").mkdir(parents=True, exist_ok=True)
        (self.directory / "model.conf").write_text((ROOT / "model.conf").read_text())
        self.policy_file.write_text(self._policy)
        (self.directory / "policies" / "tests.yaml").write_text(self._policy_tests)
        self.write_config(self.config)

    def write_config(self, config: Mapping[str, Any]) -> None:
        """In one step: a file that is seen half written is seen to change twice."""
        written = self.config_file.with_suffix(".new")
        written.write_text(yaml.safe_dump(dict(config), sort_keys=False))
        written.replace(self.config_file)

    # The process

    def start(self) -> Self:
        assert self._process is None, "it runs already"
        self._starts_at = self.output_file.stat().st_size if self.output_file.exists() else 0
        with self.output_file.open("ab") as output:
            arguments = ["serve", "--config", str(self.config_file), "--port", "0"]
            self._process = Forked(arguments, cwd=ROOT, env=self.environment, output=output)
        try:
            self.port = eventually(self._serving_port, timeout_s=START_TIMEOUT_S, what="serving")
            eventually(lambda: self.status_of("/readyz") == 200, what="readiness")
        except BaseException as error:
            self.stop()
            raise AssertionError(f"the gateway did not start:\n{self.output()[-4000:]}") from error
        return self

    def kill(self) -> None:
        """SIGKILL: it gets no chance to tidy up."""
        self._end(signal.SIGKILL)

    def terminate(self, *, timeout_s: float = 40.0) -> int:
        """SIGTERM, and waits; the exit code."""
        return self._end(signal.SIGTERM, timeout_s)

    def stop(self) -> None:
        """Whatever state it is in, it does not run afterwards."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
        if self._process is not None:
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        self.terminate()
        self.start()

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def exit_code(self, *, timeout_s: float = 40.0) -> int:
        """Waits until it ends by itself."""
        assert self._process is not None
        code = self._process.wait(timeout_s)
        self._process = None
        return code

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            **self._variables,
            "PROVIDER_KEY": self.provider_key,
            "COMPTROLLER_ADMIN_TOKEN": self.admin_token,
            **{_variable(name): secret for name, secret in self.keys.items()},
        }

    # What it says

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        return f"{self.origin}/v1"

    def status_of(self, path: str) -> int:
        return self.admin("GET", path).status

    def admin(self, method: str, path: str, body: object = None) -> Reply:
        """A request with the admin token; `path` from the root."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {self.admin_token}", "content-type": "application/json"}
        request = urllib.request.Request(self.origin + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as reply:
                return Reply(reply.status, reply.read())
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, error.read())

    def cli(self, *arguments: str, check: bool = True) -> Ran:
        """`comptroller ...` as an operator beside the running server would call it."""
        environment = {**self.environment, "COMPTROLLER_URL": self.origin, "NO_COLOR": "1"}
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            code = Forked(arguments, cwd=self.directory, env=environment, output=out, errors=err).wait(60)
            out.seek(0)
            err.seek(0)
            ran = Ran(code, out.read().decode(), err.read().decode())
        if check and ran.code != 0:
            raise AssertionError(f"comptroller {' '.join(arguments)} ended with {ran.code}:\n{ran.out}\n{ran.err}")
        return ran

    def refused_start(self) -> Ran:
        """What `comptroller serve` says where it must refuse to start."""
        ran = self.cli("serve", "--config", str(self.config_file), "--port", "0", check=False)
        assert ran.code != 0, f"it started:\n{ran.out}\n{ran.err}"
        assert "Traceback" not in ran.err
        return ran

    def output(self) -> str:
        """All that it wrote to standard output and standard error, of all starts."""
        return self.output_file.read_text() if self.output_file.exists() else ""

    def log(self, event: str | None = None) -> list[dict[str, Any]]:
        """The log lines since the last start; only those of one event, if given."""
        lines = self.output_file.read_bytes()[self._starts_at :].decode().splitlines()
        rows = [json.loads(line) for line in lines if line.startswith("{")]
        return [row for row in rows if event is None or row.get("event") == event]

    def wait_for_log(self, event: str, *, count: int = 1, timeout_s: float = 10.0) -> list[dict[str, Any]]:
        """Lines gather for some hundred milliseconds before they are written."""
        return eventually(
            lambda: rows if len(rows := self.log(event)) >= count else None, timeout_s=timeout_s, what=f"'{event}'"
        )

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name that have these labels."""
        text = self.admin("GET", "/metrics").body.decode()
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())

    def calls_seen(self) -> int:
        """How many calls the gateway answered, whatever it answered: retries of a client show here."""
        return int(self.metric("comptroller_calls_total") + self.metric("comptroller_denials_total"))

    # What it wrote down

    def rows(self, sql: str, *parameters: object) -> list[dict[str, Any]]:
        """Rows of the books, read beside the running gateway."""
        with contextlib.closing(sqlite3.connect(f"file:{self.books_file}?mode=ro", uri=True, timeout=10)) as books:
            books.row_factory = sqlite3.Row
            return [dict(row) for row in books.execute(sql, parameters)]

    def held(self) -> int:
        """How many calls have no ending yet."""
        return int(self.rows("SELECT count(*) AS n FROM calls WHERE state = 'held'")[0]["n"])

    def quiesce(self, *, timeout_s: float = 15.0) -> None:
        """Waits until every call is booked."""
        eventually(lambda: self.held() == 0, timeout_s=timeout_s, what="the last settlement")

    def settled(self) -> list[dict[str, Any]]:
        """The charged calls, oldest first, once every call is booked."""
        self.quiesce()
        return self.rows("SELECT * FROM calls WHERE state = 'settled' ORDER BY seq")

    def call(self, call_id: str) -> dict[str, Any]:
        """One call's row, once it has ended."""
        sql = "SELECT * FROM calls WHERE call_id = ? AND state <> 'held'"
        return eventually(lambda: self.rows(sql, call_id), what=f"the end of {call_id}")[0]

    def journal(self, kind: str) -> list[dict[str, Any]]:
        """The documents of all journal rows of a kind, with `subject` and `at_us` beside their own fields."""
        found = self.rows("SELECT subject, at_us, doc FROM journal WHERE kind = ? ORDER BY seq", kind)
        return [{"subject": row["subject"], "at_us": row["at_us"], **json.loads(row["doc"])} for row in found]

    # Inside

    def _config(
        self,
        upstream_url: str,
        server: str,
        fast_path: bool,
        models: Sequence[str] | Mapping[str, Any],
        keys: Sequence[Mapping[str, Any]],
        sections: Mapping[str, Any],
    ) -> dict[str, Any]:
        model = {"provider": "mock", "price": PRICE, "max_output_tokens": 4096}
        named = {name: dict(model) for name in models}
        return {
            "server": {"host": "127.0.0.1", "port": 0, "server": server, "fast_path": fast_path},
            "storage": {"url": "sqlite:///var/comptroller.db"},
            "policy": {"model": "model.conf", "files": ["policies/"]},
            "admin": {"token": "${COMPTROLLER_ADMIN_TOKEN}"},
            "providers": {
                "mock": {"kind": "openai_compatible", "base_url": upstream_url, "api_key": "${PROVIDER_KEY}"}
            },
            "models": models if isinstance(models, Mapping) else {"small": {**model, "model": "mock-ok"}, **named},
            "keys": [{**key, "secret": f"${{{_variable(key['name'])}}}"} for key in keys],
            "sessions": {"max_new_per_hour": 100_000},
            "loops": {"action": "off"},
            **sections,
        }

    def _serving_port(self) -> int | None:
        assert self._process is not None
        if (code := self._process.poll()) is not None:
            raise AssertionError(f"it ended with {code}")
        return next((row["port"] for row in self.log("serving")), None)

    def _end(self, number: int, timeout_s: float = 10.0) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        return self.exit_code(timeout_s=timeout_s)


def _variable(key_name: str) -> str:
    return f"KEY_{key_name.upper().replace('-', '_')}"
