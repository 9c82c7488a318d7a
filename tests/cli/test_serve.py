"""`comptroller serve` as an operator meets it: what it prints once, what it refuses, what commands beside it see."""

import json
import os
import re
import select
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.core.identity import well_formed
from tests.cli.running import COMMAND, comptroller, environment

START_S = 40.0


class Serving:
    """A server that was started in a directory. `said` is what it printed until it was ready."""

    def __init__(self, process: "subprocess.Popen[str]", said: str, url: str) -> None:
        self.process = process
        self.said = said
        self.url = url

    def chat(self, secret: str, session: str = "run") -> tuple[int, dict[str, Any]]:
        body = {"model": "sim-small", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 20}
        headers = {"authorization": f"Bearer {secret}", "x-comptroller-session": session}
        request = urllib.request.Request(f"{self.url}/v1/chat/completions", json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as reply:
                return reply.status, json.loads(reply.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@contextmanager
def serving(directory: Path, *arguments: str, until: str = "serves at", **extra: str) -> Iterator[Serving]:
    with (directory / "log.txt").open("a") as log, ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(
                [*COMMAND, "serve", "--port", "0", *arguments],
                cwd=directory,
                env=environment({"PYTHONUNBUFFERED": "1", **extra}),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        )
        stack.callback(process.kill)
        said = printed(process, until)
        found = re.search(r"http://[0-9.:]+", said)
        assert found, said
        yield Serving(process, said, found[0])


def printed(process: "subprocess.Popen[str]", until: str) -> str:
    """All of standard output up to the line that has `until`, and what came with it."""
    assert process.stdout is not None
    deadline, said = time.monotonic() + START_S, ""
    descriptor = process.stdout.fileno()
    while time.monotonic() < deadline:
        wait_s = 0.5 if until in said else START_S
        if not select.select([descriptor], [], [], wait_s)[0]:
            break
        part = os.read(descriptor, 65536).decode()
        said += part
        if not part:
            break
    assert until in said, f"ended with {process.poll()}: {said}"
    return said


@pytest.fixture
def place(tmp_path: Path) -> Path:
    assert comptroller(tmp_path, "init").code == 0
    return tmp_path


def test_rule_35_a_start_without_a_file_prints_once_what_one_needs(tmp_path: Path) -> None:
    with serving(tmp_path, until=".mcp.json") as first:
        token = re.search(r"COMPTROLLER_ADMIN_TOKEN=(\S+)", first.said)
        key = re.search(r"COMPTROLLER_API_KEY=(\S+)", first.said)
        assert token
        assert key
        assert well_formed(key[1])
        assert f"curl {first.url}/v1/chat/completions" in first.said
        config = json.loads(first.said[first.said.index('{"mcpServers"') :].splitlines()[0])
        assert config["mcpServers"]["comptroller"]["url"] == f"{first.url}/mcp"
        assert first.chat(key[1])[0] == 200
        names = {"COMPTROLLER_URL": first.url, "COMPTROLLER_ADMIN_TOKEN": token[1]}
        (row,) = comptroller(tmp_path, "usage", "--json", **names).json
        assert (row["user"], row["calls"]) == ("local", 1)
        limits = {
            limit["name"]: limit["limit"] for limit in comptroller(tmp_path, "limits", "list", "--json", **names).json
        }
        assert (limits["session-tokens"], limits["session-money"], limits["user-day"]) == (2_000_000, 5, 20)
        assert first.stop() == 0
    with serving(tmp_path) as second:
        assert "cptr_" not in second.said
        assert second.chat(key[1])[0] == 200
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(kept) > 2
    for path in kept:
        content = path.read_bytes()
        assert token[1].encode() not in content, path
        assert key[1].encode() not in content, path


def test_what_was_made_is_told_as_json(tmp_path: Path) -> None:
    with serving(tmp_path, "--json", until='"url"') as server:
        told = json.loads(server.said)
        assert told["models"] == ["sim-small", "sim-large"]
        assert server.chat(told["virtual_key"])[0] == 200
        assert told["admin_token"].startswith("cptr_admin_")


def test_commands_beside_a_server_find_it_and_see_what_it_sees(place: Path) -> None:
    """From init to a stopped session, told by the commands alone."""
    with serving(place) as server:
        beside = {"COMPTROLLER_URL": server.url}
        key = comptroller(place, "keys", "create", "--user", "=alice", "--json", **beside).json
        assert server.chat(key["secret"])[0] == 200
        (session,) = comptroller(place, "sessions", "list", "--json", **beside).json
        assert (session["client_id"], session["calls"]) == ("run", 1)
        comptroller(place, "sessions", "pause", session["id"], "--reason", "look at it", **beside)
        status, answer = server.chat(key["secret"])
        assert (status, answer["error"]["code"]) == (402, "session_paused")
        assert "look at it" in answer["error"]["message"]
        shown = comptroller(place, "sessions", "show", session["id"], **beside)
        assert "session_paused" in shown.out
        comptroller(place, "sessions", "resume", session["id"], **beside)
        assert server.chat(key["secret"])[0] == 200
        csv = comptroller(place, "usage", "--by", "user,model", "--csv", **beside).out.splitlines()
        assert csv[0].startswith("user,model,calls,denied,")
        assert csv[1].startswith("'=alice,sim-small,2,1,")
        comptroller(place, "keys", "revoke", key["id"], **beside)
        assert server.chat(key["secret"])[1]["error"]["code"] == "key_revoked"
        assert comptroller(place, "audit", "verify", **beside).code == 0
        before = comptroller(place, "usage", "--by", "user,session,model", "--json", **beside).json
        assert server.stop() == 0
    assert comptroller(place, "usage", "--by", "user,session,model", "--json").json == before


def test_books_of_a_running_server_are_locked(place: Path) -> None:
    with serving(place):
        ran = comptroller(place, "usage")
        assert (ran.code, ran.out) == (3, "")
        assert "process" in ran.err
        assert "COMPTROLLER_URL" in ran.err
        second = comptroller(place, "serve", "--port", "0")
        assert (second.code, second.out) == (3, "")
        assert comptroller(place, "doctor", "--json").code == 0
        assert comptroller(place, "policy", "check").code == 0


@pytest.mark.parametrize(
    "extra",
    [
        {"COMPTROLLER_URL": "http://127.0.0.1:9", "COMPTROLLER_ADMIN_TOKEN": "x"},
        {"COMPTROLLER_URL": "no address", "COMPTROLLER_ADMIN_TOKEN": "x"},
        {"COMPTROLLER_URL": "http://127.0.0.1:9"},
    ],
)
def test_a_named_server_that_is_not_there_is_unavailable(tmp_path: Path, extra: dict[str, str]) -> None:
    ran = comptroller(tmp_path, "usage", **extra)
    assert (ran.code, ran.out) == (3, "")
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_token_is_unavailable(place: Path) -> None:
    with serving(place) as server:
        ran = comptroller(place, "usage", COMPTROLLER_URL=server.url, COMPTROLLER_ADMIN_TOKEN="wrong")
        assert (ran.code, ran.out) == (3, "")
        assert "admin token" in ran.err


def test_a_port_that_is_taken_is_unavailable(place: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ran = comptroller(place, "serve", "--port", str(taken.getsockname()[1]))
        port = taken.getsockname()[1]
    assert (ran.code, ran.out) == (3, "")
    assert f"cannot listen on 127.0.0.1:{port}" in ran.err
    assert "--port" in ran.err


@pytest.mark.parametrize("kind", ["hypercorn", "uvicorn"])
def test_rule_35_a_first_start_that_cannot_listen_makes_nothing_that_is_shown_once(tmp_path: Path, kind: str) -> None:
    """Else the key and the token of the first start would be made, and never seen by anyone."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert comptroller(tmp_path, "serve", "--port", str(taken.getsockname()[1])).code == 3
        assert list(tmp_path.iterdir()) == []
    with serving(tmp_path, "--server", kind, until=".mcp.json") as second:
        key = re.search(r"COMPTROLLER_API_KEY=(\S+)", second.said)
        assert key
        assert second.chat(key[1])[0] == 200


def test_every_interface_is_told_as_an_address_that_can_be_called(tmp_path: Path) -> None:
    with serving(tmp_path, "--host", "0.0.0.0", until=".mcp.json") as server:
        assert re.match(r"Comptroller serves at http://127\.0\.0\.1:\d+\n", server.said)
        assert "0.0.0.0" not in server.said


@pytest.mark.parametrize(("arguments", "said"), [(("--server", "apache"), "hypercorn"), (("--workers", "2"), "worker")])
def test_what_cannot_serve_is_a_usage_error(place: Path, arguments: tuple[str, ...], said: str) -> None:
    ran = comptroller(place, "serve", "--port", "0", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


def test_a_broken_policy_is_refused_at_the_start(place: Path) -> None:
    rows = place / "policies" / "00-default.csv"
    rows.write_text(rows.read_text() + "p, user:alice, small\n")
    ran = comptroller(place, "serve", "--port", "0")
    assert (ran.code, ran.out) == (1, "")
    assert re.search(r"00-default\.csv:\d+:\d+", ran.err)


def test_mcp_needs_a_key_and_a_gateway(tmp_path: Path) -> None:
    assert comptroller(tmp_path, "mcp").code == 2
    ran = comptroller(tmp_path, "mcp", "--url", "http://127.0.0.1:9", COMPTROLLER_API_KEY="x")
    assert (ran.code, ran.out) == (3, "")
