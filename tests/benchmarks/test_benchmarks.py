"""The instruments of the benchmarks answer and count correctly, so that they cannot rot unseen."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import openai
import pytest

from benchmarks.figures import percentile, pooled_ratio, slope, spread
from benchmarks.gateway_config import POLICY_RULES, Governance, policy_rows, write_config
from benchmarks.http1 import FramingError, Reader, Role
from benchmarks.load import Plan, measure
from benchmarks.measure import faults
from benchmarks.report import table, verdicts, write_between_markers
from benchmarks.upstream import MODELS, event_count
from gateway.policy.engine import load_policy, run_tests
from gateway.policy.source import PolicySource

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def upstream_port() -> Iterator[int]:
    command = [sys.executable, "-m", "benchmarks.upstream", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["port"]
        process.terminate()
        assert process.wait(timeout=10) == 0


@pytest.fixture
async def client(upstream_port: int) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{upstream_port}/v1", api_key="none") as made:
        yield made


async def test_the_mock_answers_a_call_with_usage(client: openai.AsyncOpenAI) -> None:
    for _ in range(2):  # the second on the same connection
        reply = await client.chat.completions.create(model="bench-plain", messages=[{"role": "user", "content": "x"}])
        assert reply.choices[0].finish_reason == "stop"
        assert reply.usage is not None
        assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


@pytest.mark.parametrize(("model", "events"), [("bench-stream-200", 200), ("bench-paced-40-2ms", 40)])
@pytest.mark.parametrize("include_usage", [True, False])
async def test_the_mock_streams_as_many_events_as_the_model_says(
    client: openai.AsyncOpenAI, model: str, events: int, include_usage: bool
) -> None:
    stream = await client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": 'she said "model":"bench-plain", "stream": false'}],
        stream=True,
        stream_options={"include_usage": include_usage},
    )
    chunks = [chunk async for chunk in stream]
    contents = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert len([content for content in contents if content]) == events
    assert len({content for content in contents if content}) == events
    assert [chunk.usage is not None for chunk in chunks].count(True) == (1 if include_usage else 0)


async def test_the_mock_lists_its_models_and_refuses_others(client: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == list(MODELS)
    with pytest.raises(openai.NotFoundError):
        await client.chat.completions.create(model="gpt-5-mini", messages=[{"role": "user", "content": "x"}])


async def test_the_mock_reads_chunked_bodies_and_keeps_the_connection(upstream_port: int) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b'{"model": "bench-'
        yield b'plain"}'

    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{upstream_port}") as client:
        for _ in range(2):
            reply = await client.post("/v1/chat/completions", content=body())
            assert reply.status_code == 200
            assert 500 < len(reply.content) < 700
        assert (await client.get("/nothing")).status_code == 404


async def test_the_loader_measures_calls(upstream_port: int) -> None:
    result = await measure(Plan(port=upstream_port, calls=50, connections=8, max_s=30, calls_per_session=5))
    assert (result["answered"], result["errors"]) == (50, {})
    times = result["latency_us"]
    assert 0 < times["p50"] <= times["p90"] <= times["p99"] <= times["p99_9"] <= times["max"]


async def test_the_loader_counts_the_events_of_streams(upstream_port: int) -> None:
    plan = Plan(port=upstream_port, calls=20, connections=4, stream=True, model="bench-stream-200", max_s=30)
    result = await measure(plan)
    assert result["events_per_stream"] == {str(event_count(200)): 20}
    assert result["first_event_us"]["p50"] > 0


async def test_the_loader_leaves_streams_in_the_middle(upstream_port: int) -> None:
    plan = Plan(port=upstream_port, calls=20, connections=4, stream=True, model="bench-paced-40-2ms", leave_every=5)
    result = await measure(plan)
    assert (result["left"], result["answered"], result["errors"]) == (4, 16, {})


async def test_the_loader_holds_a_rate(upstream_port: int) -> None:
    result = await measure(Plan(port=upstream_port, calls=50, connections=8, rate=500.0, max_s=30))
    assert result["answered"] == 50
    assert result["seconds"] >= 49 / 500


async def test_the_loader_says_what_failed(upstream_port: int) -> None:
    result = await measure(Plan(port=upstream_port, calls=3, connections=1, model="nobody", max_s=30))
    assert result["errors"] == {"status 404": 3}
    assert result["latency_us"] is None


async def test_the_loader_is_bounded_in_time(upstream_port: int) -> None:
    plan = Plan(port=upstream_port, calls=1, connections=1, stream=True, model="bench-paced-200-5ms", max_s=0.05)
    assert (await measure(plan))["errors"] == {"out of time": 1}


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10_000])
def test_framing_does_not_depend_on_how_bytes_arrive(size: int) -> None:
    sent = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nx-end: 1\r\n\r\n"
        b"HTTP/1.1 204 No Content\r\n\r\n"
        b"HTTP/1.1 200 OK\r\n\r\nuntil the end"
    )
    bodies = [b""]
    reader = Reader(
        Role.REPLIES,
        lambda _start, _headers: None,
        lambda piece: bodies.append(bodies.pop() + piece),
        lambda: bodies.append(b""),
    )
    for at in range(0, len(sent), size):
        reader.feed(sent[at : at + size])
    reader.close()
    assert bodies == [b"hello", b"abc0123456789", b"", b"until the end", b""]


def test_framing_refuses_what_it_does_not_know() -> None:
    reader = Reader(Role.REQUESTS, lambda _start, _headers: None, lambda _piece: None, lambda: None)
    with pytest.raises(FramingError):
        reader.feed(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n")


def test_figures_are_nearest_rank() -> None:
    ordered = [float(number) for number in range(1, 101)]
    assert [percentile(ordered, percent) for percent in (50, 99, 99.9, 100)] == [50, 99, 100, 100]
    found = spread([3.0, 1.0, 2.0, 4.0])
    assert found is not None
    assert (found.median, found.low, found.high) == (2.5, 1.0, 4.0)
    assert slope([(0, 1), (1, 3), (2, 5)]) == 2


@pytest.mark.parametrize("governance", list(Governance))
def test_the_gateway_accepts_the_measured_policy(tmp_path: Path, governance: Governance) -> None:
    write_config(tmp_path, 9101, governance)
    results = run_tests(load_policy(PolicySource(tmp_path)))
    assert results
    assert all(result.passed for result in results)


def test_the_measured_policy_is_large() -> None:
    assert sum(row.startswith("p, ") for row in policy_rows()) == POLICY_RULES


def test_the_configuration_holds_no_key(tmp_path: Path) -> None:
    config = json.loads(write_config(tmp_path, 9101, Governance.ALL).read_text())
    assert config["keys"][0]["secret"] == "${BENCH_KEY}"
    assert {limit["each"] for limit in config["limits"]} == {"session", "user", "team", "agent", "key"}


def _phase(cpu_us: float, p50_us: float) -> dict[str, object]:
    times = {"p50": p50_us, "p99": p50_us * 2}
    return {
        "answered": 10,
        "errors": {},
        "cpu_us_per_call": cpu_us,
        "cpu_us_per_event": cpu_us / 10,
        "calls_per_s": 1e6 / cpu_us,
        "latency_us": times,
        "first_event_us": times,
        "events_per_stream": {str(event_count(200)): 10},
    }


def _lane(title: str, cpu_us: float, p50_us: float) -> dict[str, object]:
    phases = {phase: _phase(cpu_us, p50_us) for phase in ("calls", "latency", "burst", "paced")}
    return {"title": title, "rounds": [phases] * 2, "rss_rest_bytes": 50_000_000, "rss_after_bytes": 60_000_000}


def test_the_report_says_what_was_added_and_what_was_missed() -> None:
    result = {
        "lanes": {
            "direct": _lane("the mock", 10, 100),
            "relay-uvicorn": _lane("relay", 100, 300),
            "all-uvicorn": _lane("ours", 350, 900),
            "nginx": {"title": "nginx", "rounds": [], "missing": "it is not installed: here"},
        }
    }
    text = table(result)
    assert "| ours | 350 (350-350) | 0.80 (0.80-0.80) |" in text
    assert "| nginx | not measured: it is not installed |" in text
    assert {(verdict.value, verdict.met) for verdict in verdicts(result)} >= {(3.5, False), (0.8, True), (25.0, False)}
    assert faults(result) == []


def test_the_report_names_streams_that_lost_events() -> None:
    lossy = _lane("lossy", 10, 10)
    lossy["rounds"] = [{"burst": _phase(10, 10) | {"events_per_stream": {"202": 1, "203": 9}}}]
    found = faults({"lanes": {"direct": _lane("the mock", 10, 10), "lossy": lossy}})
    assert found == ["lossy, round 1, burst: events per stream {'202': 1}, not 203"]


def test_the_table_has_its_place_in_the_document(tmp_path: Path) -> None:
    copy = tmp_path / "performance.md"
    copy.write_text((ROOT / "docs" / "performance.md").read_text())
    before = copy.read_text()
    write_between_markers(copy, "| new |")
    write_between_markers(copy, "| newer |")
    assert "| newer |" in copy.read_text()
    assert "| new |" not in copy.read_text()
    assert before.partition("<!-- bench:begin -->")[0] == copy.read_text().partition("<!-- bench:begin -->")[0]


@pytest.mark.parametrize("module", ["run", "soak", "load", "upstream"])
async def test_each_tool_explains_itself(module: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"benchmarks.{module}", "--help", cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    assert process.returncode == 0
    assert f"python -m benchmarks.{module}".encode() in said


def test_c10_a_ratio_of_percentiles_comes_with_what_noise_can_do_to_it() -> None:
    base = [[100.0 + n % 7 + round_ for n in range(50)] for round_ in range(8)]
    assert pooled_ratio(base, base) == (1.0, 1.0, 1.0)
    ratio, low, high = pooled_ratio([[value * 1.5 for value in values] for values in base], base)
    assert ratio == low == high == 1.5
    one_bad = [[value * (3 if number == 0 else 1) for value in values] for number, values in enumerate(base)]
    ratio, low, high = pooled_ratio(one_bad, base)
    assert low < 1.05 < ratio <= high, "one bad round proves nothing"
    assert pooled_ratio([*base[1:], []], base)[0] == float("inf"), "who is never served has no p99"
