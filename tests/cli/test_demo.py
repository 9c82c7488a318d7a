"""`comptroller demo` as a person or a script runs it: the story holds, the books agree, nothing is left behind."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.tidy.tree import ROOT

pytestmark = pytest.mark.xdist_group("demo")
COMMAND = [sys.executable, "-c", "from gateway.cli.main import main; main()"]
ESCAPE = "\x1b"
TIMEOUT_S = 60


def environment(temporary: Path, **more: str) -> dict[str, str]:
    """Nobody's keys, and a place for temporary files that can be looked at afterwards."""
    temporary.mkdir(exist_ok=True)
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("COMPTROLLER_", "NO_COLOR"))}
    return {**ours, "TMPDIR": str(temporary), "OPENAI_API_KEY": "sk-not-to-be-used", **more}


def demo(where: Path, *options: str, **more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, "demo", *options],
        cwd=where,
        env=environment(where / "tmp", **more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "kept"


@pytest.fixture(scope="module")
def story(kept: Path) -> dict[str, Any]:
    done = demo(kept.parent, "--json", "--keep", str(kept))
    assert (done.returncode, done.stderr) == (0, "")
    told: dict[str, Any] = json.loads(done.stdout)
    return {**told, "scenes": {scene["name"]: scene for scene in told["scenes"]}}


def test_the_planner_asks_what_is_left_and_finishes_within_it(story: dict[str, Any]) -> None:
    scene = story["scenes"]["planner"]
    before = next(limit for limit in scene["quota_status"] if limit["name"] == "session-tokens")
    after = scene["limit"]
    assert 0 < before["spent"] < after["spent"] < after["limit"] == before["limit"]
    assert scene["session"]["input_tokens"] + scene["session"]["output_tokens"] == after["spent"]
    assert scene["session"]["denied"] == 0


def test_the_runaway_is_paused_at_the_configured_number_until_a_person_resumes_it(
    story: dict[str, Any], kept: Path
) -> None:
    scene = story["scenes"]["runaway"]
    acts_at = yaml.safe_load((kept / "comptroller.yaml").read_text())["loops"]["identical_requests"]
    assert scene["answered"] == acts_at - 1
    assert [refused["code"] for refused in scene["refused"]] == ["loop_detected", "session_paused"]
    assert not any(refused["waiting_helps"] for refused in scene["refused"])
    assert scene["session"]["state"] == "paused"
    assert scene["resumed"]["state"] == "open"


def test_the_spender_stops_at_its_session_budget(story: dict[str, Any]) -> None:
    scene = story["scenes"]["spender"]
    (refused,) = scene["refused"]
    limit = refused["comptroller"]["limit"]
    assert (refused["status"], refused["code"], refused["waiting_helps"]) == (402, "session_budget_exhausted", False)
    assert limit["asked"] > limit["remaining"] >= 0
    assert scene["limit"]["name"] == limit["name"]
    assert 0 < scene["limit"]["spent"] <= scene["limit"]["limit"]


def test_the_crowd_does_not_pass_its_limit(story: dict[str, Any]) -> None:
    scene = story["scenes"]["crowd"]
    assert 0 < scene["answered"] < scene["agents"] == 10
    assert scene["answered"] + len(scene["refused"]) == scene["agents"]
    assert {refused["comptroller"]["limit"]["name"] for refused in scene["refused"]} == {"nightly-day"}
    assert 0 < scene["limit"]["spent"] <= scene["limit"]["limit"]
    assert scene["limit"]["held"] == 0


def test_the_policy_denies_by_the_row_that_is_shown(story: dict[str, Any], kept: Path) -> None:
    rows = (kept / "policies" / "10-demo.csv").read_text().splitlines()
    refused = story["scenes"]["policy"]["refused"]
    assert [each["code"] for each in refused] == ["model_denied", "tool_denied"]
    for each, expected in zip(refused, ("sim-large", "deploy__*"), strict=True):
        line = int(each["comptroller"]["rule"].rpartition(":")[2])
        assert expected in rows[line - 1]
        assert rows[line - 1].endswith("deny")


def test_the_books_agree_with_what_the_agents_were_told(story: dict[str, Any]) -> None:
    assert story["audit"]["ok"]
    assert story["books"]["agree"]
    booked = sum(row["cost_usd"] for row in story["usage"])
    assert booked == pytest.approx(story["books"]["told_to_agents_usd"], abs=1e-9)
    denied: Counter[str] = Counter()
    for row in story["usage"]:
        denied[row["agent"]] += row["denied"]
    assert (denied["writer"], denied["watcher"], denied["researcher"], denied["trainee"]) == (0, 2, 1, 2)


def test_it_is_quick(story: dict[str, Any]) -> None:
    assert story["seconds"] < 15


def test_what_is_kept_works_by_itself_and_says_the_same(story: dict[str, Any], kept: Path) -> None:
    def ask(*words: str) -> Any:
        command = [*COMMAND, *words, "--json"]
        done = subprocess.run(
            command,
            cwd=kept,
            env=environment(kept / "tmp"),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=True,
        )
        return json.loads(done.stdout)

    assert ask("usage", "--by", "user,agent,model") == story["usage"]
    assert ask("audit", "verify")["ok"]
    for private in (kept / "var", kept / "var" / "admin.token", *(kept / "var" / "keys").iterdir()):
        assert private.stat().st_mode & 0o077 == 0


def test_secrets_are_in_no_log(story: dict[str, Any], kept: Path) -> None:
    log = (kept / "var" / "gateway.log").read_text()
    secrets = [path.read_text().strip() for path in (kept / "var" / "keys").iterdir()]
    assert len(secrets) == 4
    assert not [secret for secret in (*secrets, "sk-not-to-be-used") if secret in log or secret in json.dumps(story)]


def test_it_says_the_story_in_plain_text_and_leaves_nothing_behind(tmp_path: Path) -> None:
    done = demo(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    headings = re.findall(r"^(\d)\. ", done.stdout, re.MULTILINE)
    assert headings == list("123456")
    assert "and is paused" in " ".join(done.stdout.replace("|", " ").split())
    assert "session_budget_exhausted" in done.stdout
    assert re.search(r"^user +agent +model +calls +denied", done.stdout, re.MULTILINE)
    assert re.search(r"The audit\s+log\s+of\s+\d+\s+rows\s+verifies", done.stdout)
    assert ESCAPE not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX")
@pytest.mark.parametrize(("more", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_are_for_terminals(tmp_path: Path, more: dict[str, str], *, coloured: bool) -> None:
    program = f"import pty, sys; sys.stdout.flush();status = pty.spawn([*{COMMAND!r}, 'demo']); sys.exit(status >> 8)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment(tmp_path / "tmp", TERM="xterm-256color", **more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    assert b"Who spent what" in done.stdout
    assert bool(re.search(rb"\x1b\[[0-9;]*3[0-7]m", done.stdout)) is coloured


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = demo(tmp_path, "--port", str(taken.getsockname()[1]))
    assert done.returncode == 3
    assert "in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_directory_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    done = demo(tmp_path, "--keep", "mine")
    assert done.returncode == 2
    assert "not empty" in done.stderr
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_ctrl_c_ends_the_gateway_too(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "demo"],
        cwd=ROOT,
        env=environment(tmp_path / "tmp"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert "serves at" in process.stdout.readline()
    gateways = psutil.Process(process.pid).children()
    assert len(gateways) == 1
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert not psutil.pid_exists(gateways[0].pid)
    assert list((tmp_path / "tmp").iterdir()) == []
