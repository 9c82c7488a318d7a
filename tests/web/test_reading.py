"""Bodies that do not come: the edge waits for them a bounded time, whatever was sent of them."""

import asyncio
from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest

from gateway.core.denial import Code, Refused
from gateway.pipeline.answer import ClientLeft
from gateway.web import edge

PART = {"type": "http.request", "body": b"{", "more_body": True}


class Client:
    """Sends these messages, then nothing more."""

    def __init__(self, *messages: MutableMapping[str, Any]) -> None:
        self._messages: Iterator[MutableMapping[str, Any]] = iter(messages)

    async def receive(self) -> MutableMapping[str, Any]:
        message = next(self._messages, None)
        if message is None:
            await asyncio.Event().wait()
        assert message is not None
        return message


@pytest.mark.parametrize("sent", [(), (PART,), (PART, PART)], ids=["nothing", "a part", "parts"])
async def test_a_body_that_does_not_come_ends_the_request(monkeypatch: pytest.MonkeyPatch, sent: Any) -> None:
    monkeypatch.setattr(edge, "BODY_TIMEOUT_S", 0.05)
    with pytest.raises(Refused) as refused:
        async with asyncio.timeout(5):
            await edge.read_whole(Client(*sent).receive, 1_000, b"100")
    assert refused.value.denial.code is Code.REQUEST_MALFORMED


@pytest.mark.parametrize("sent", [(), (PART,)], ids=["nothing", "a part"])
async def test_a_client_that_leaves_while_it_sends_is_not_answered(sent: Any) -> None:
    with pytest.raises(ClientLeft):
        await edge.read_whole(Client(*sent, {"type": "http.disconnect"}).receive, 1_000, None)
