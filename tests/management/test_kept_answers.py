"""Kept answers: a hit is a governed call. It expires by the clock, is refused where a call would be, is in no file."""

from pathlib import Path
from typing import Any

import pytest

from tests.management.hand_clock import NOON_US, SECOND_US, by_hand
from tests.management.opening import ALICE, CONFIG, ENVIRONMENT, POLICY, Opened, opening

KEPT = {**CONFIG["models"], "small": {**CONFIG["models"]["small"], "cache": {"kept_for": "10m"}}}
HOUR_US = 3_600 * SECOND_US


def files_with(directory: Path, needles: list[bytes]) -> list[str]:
    files = [path for path in directory.rglob("*") if path.is_file()]
    return [path.name for path in files if any(needle in path.read_bytes() for needle in needles)]


async def hit(node: Opened, **call: Any) -> str:
    """`hit`, `miss`, or the code of a refusal."""
    reply = await node.chat(ALICE, **call)
    if reply.status_code == 200:
        return reply.headers["x-comptroller-cache"]
    return str(reply.json()["error"]["code"])


async def test_an_answer_is_kept_to_the_microsecond(tmp_path: Path) -> None:
    async with opening(tmp_path, models=KEPT) as node:
        clock = by_hand(node)
        assert await hit(node) == "miss"
        clock.at_us += 600 * SECOND_US - 1
        assert await hit(node) == "hit"
        clock.at_us += 1
        assert await hit(node) == "miss"


async def test_a_hit_counts_as_a_request_and_is_refused_where_none_is_left(tmp_path: Path) -> None:
    limits = [{"name": "two", "each": "user", "requests": 2, "window": "day"}]
    async with opening(tmp_path, models=KEPT, limits=limits) as node:
        by_hand(node)
        assert [await hit(node) for _ in range(3)] == ["miss", "hit", "budget_exhausted"]


async def test_a_hit_is_refused_where_policy_no_longer_allows_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    always = "p, role:everyone, small, *, model:invoke, , allow"
    kept = {**KEPT, "small": {**KEPT["small"], "cache": {"kept_for": "5h"}}}
    async with opening(tmp_path, models=kept) as node:
        rows = POLICY.replace(always, "p, role:everyone, small, *, model:invoke, time.hour < 13, allow")
        (tmp_path / "policies" / "10-test.csv").write_text(rows)
        assert await node.application.keeper.reload() == ()
        clock = by_hand(node, NOON_US)
        assert [await hit(node) for _ in range(2)] == ["miss", "hit"]
        clock.at_us += HOUR_US
        assert await hit(node) == "model_denied"


async def test_hits_in_a_circle_are_a_loop(tmp_path: Path) -> None:
    async with opening(tmp_path, models=KEPT, loops={"identical_requests": 4}) as node:
        clock, seen = by_hand(node), []
        for _ in range(6):
            clock.at_us += SECOND_US
            seen.append(await hit(node))
        assert seen[:2] == ["miss", "hit"]
        assert seen[-1] in ("loop_detected", "session_paused")


@pytest.mark.parametrize("stream", [False, True])
async def test_what_is_kept_is_in_no_file(tmp_path: Path, stream: bool) -> None:
    secret = "the-word-that-nobody-may-find-on-the-disk"
    body = {"model": "small", "messages": [{"role": "user", "content": secret}], "max_tokens": 20, "stream": stream}
    async with opening(tmp_path, models=KEPT) as node:
        answers = []
        for _ in range(2):
            reply = await node.client.post(
                "/v1/chat/completions", json=body, headers={"authorization": f"Bearer {ALICE}"}
            )
            answers.append((reply.headers["x-comptroller-cache"], reply.text))
        assert [kept for kept, _ in answers] == ["miss", "hit"]
        assert answers[0][1] == answers[1][1]
        await node.application.node.books.totals([])
    needles = [secret.encode(), *(chunk.encode() for chunk in answers[0][1].split("\n") if len(chunk) > 60)]
    assert files_with(tmp_path, needles) == []
