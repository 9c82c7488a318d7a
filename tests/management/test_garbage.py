"""A call that is over leaves nothing to the cyclic collector, whose rounds stop every other call: 50 ms a second
under a flood of refusals, and as long every few hundred streams."""

import gc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from gateway.core.call import Arrival
from gateway.core.denial import Denial, Refused
from gateway.pipeline.capacity import Turn
from gateway.pipeline.denied import Trail
from gateway.pipeline.flights import Flight
from gateway.pipeline.relay import Relay
from gateway.pipeline.reserve import Reserved
from tests.management.full_line import full_line
from tests.management.opening import ALICE, BOB, CONFIG, Opened, opening

Calling = Callable[[Opened], Awaitable[None]]
COUNT = count()
MODELS = {**CONFIG["models"], "large": {**CONFIG["models"]["large"], "cache": {"kept_for": "10m"}}}
OURS = (Arrival, Denial, Flight, Refused, Relay, Reserved, Trail, Turn)


async def served(node: Opened) -> None:
    assert (await node.chat(ALICE)).status_code == 200


async def streamed(node: Opened) -> None:
    body = {"model": "small", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 20, "stream": True}
    async with node.client.stream(
        "POST", "/v1/chat/completions", json=body, headers={"authorization": f"Bearer {ALICE}"}
    ) as reply:
        assert b"[DONE]" in await reply.aread()


async def refused_by_policy(node: Opened) -> None:
    assert (await node.chat(BOB, model="large")).status_code == 400


async def refused_by_a_limit(node: Opened) -> None:
    assert (await node.chat(BOB, text="x" * 900_000)).status_code in (402, 429)


async def malformed(node: Opened) -> None:
    headers = {"authorization": f"Bearer {ALICE}"}
    assert (await node.client.post("/v1/chat/completions", json={"model": "small"}, headers=headers)).status_code == 400


async def kept(node: Opened) -> None:
    """A stream that is kept, and one from memory."""
    for text in (f"hi {next(COUNT)}",) * 2:
        body = {"model": "large", "messages": [{"role": "user", "content": text}], "max_tokens": 20, "stream": True}
        async with node.client.stream(
            "POST", "/v1/chat/completions", json=body, headers={"authorization": f"Bearer {ALICE}"}
        ) as reply:
            assert b"[DONE]" in await reply.aread()


@contextmanager
def nothing_left() -> Iterator[None]:
    """Fails if what happens inside leaves something of ours that only the collector can free."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield
        gc.collect()
        left = sorted(type(each).__name__ for each in gc.garbage if isinstance(each, OURS))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert left == []


@pytest.mark.parametrize("calling", [served, streamed, kept, refused_by_policy, refused_by_a_limit, malformed])
async def test_a_call_that_is_over_leaves_nothing_to_the_collector(tmp_path: Path, calling: Calling) -> None:
    async with opening(tmp_path, models=MODELS) as node:
        await calling(node)
        with nothing_left():
            for _ in range(3):
                await calling(node)
            await node.application.node.books.totals([])


async def test_c10_nor_does_one_that_found_its_line_full(tmp_path: Path) -> None:
    async with full_line(tmp_path) as (node, _, _):
        await node.chat(ALICE)
        with nothing_left():
            for _ in range(3):
                assert (await node.chat(ALICE)).status_code == 429
