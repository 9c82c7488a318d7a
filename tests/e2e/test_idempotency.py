"""Idempotency-Key over HTTP: one upstream call and one charge, whatever comes twice, together, or after a crash."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from openai import APIStatusError

from tests.support.clients import ask, scripted, sdk
from tests.support.gateway import GatewayProcess, eventually

KEY = {"Idempotency-Key": "0b8f-one"}


def header(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key}


async def posted(
    gateway: GatewayProcess, bodies: list[dict[str, Any]], key: str, path: str = "/chat/completions"
) -> list[tuple[int, dict[str, str], str]]:
    """All at once; status, headers and text of each."""
    headers = {"authorization": f"Bearer {gateway.keys['alice']}", **header(key)}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:

        async def one(body: dict[str, Any]) -> tuple[int, dict[str, str], str]:
            async with client.post(gateway.base_url + path, json=body, headers=headers) as reply:
                return reply.status, {k.lower(): v for k, v in reply.headers.items()}, await reply.text()

        return await asyncio.gather(*(one(body) for body in bodies))


def test_a_hundred_parallel_twins_are_one_call_and_one_charge(start, clean_upstream):
    gateway = start()
    bodies = [ask(scripted(delay_s=0.5))] * 100
    replies = asyncio.run(posted(gateway, bodies, "twins"))
    assert {status for status, _, _ in replies} == {200}
    assert len({text for _, _, text in replies}) == 1
    assert sum("x-comptroller-replayed" in headers for _, headers, _ in replies) == 99
    assert len({headers["x-comptroller-call"] for _, headers, _ in replies}) == 1
    assert len(clean_upstream.log()) == 1
    assert len(gateway.settled()) == 1


def test_twins_of_a_stream_get_its_events_and_are_charged_once(start, clean_upstream):
    gateway = start()
    bodies = [ask(scripted(events=20, pace_s=0.02), stream=True)] * 20
    replies = asyncio.run(posted(gateway, bodies, "streams"))
    assert {status for status, _, _ in replies} == {200}
    (text,) = {text for _, _, text in replies}
    assert text.endswith("data: [DONE]\n\n")
    assert {headers["content-type"].split(";")[0] for _, headers, _ in replies} == {"text/event-stream"}
    assert len(clean_upstream.log()) == len(gateway.settled()) == 1
    with sdk(gateway) as client:
        again = client.chat.completions.create(**bodies[0], extra_headers=header("streams"))
        words = "".join(chunk.choices[0].delta.content or "" for chunk in again if chunk.choices)
    assert len(words.split()) == 20
    assert len(clean_upstream.log()) == 1


def test_another_body_is_422_and_the_same_in_other_words_is_the_same(start, clean_upstream):
    gateway = start()
    with sdk(gateway, max_retries=2) as client:
        first = client.chat.completions.with_raw_response.create(**ask("a"), extra_headers=KEY)
        again = client.chat.completions.with_raw_response.create(**dict(reversed(ask("a").items())), extra_headers=KEY)
        assert "x-comptroller-replayed" not in first.headers
        assert again.headers["x-comptroller-replayed"] == "true"
        assert first.text == again.text
        with pytest.raises(APIStatusError) as refused:
            client.chat.completions.create(**ask("b"), extra_headers=KEY)
        assert refused.value.status_code == 422
        assert refused.value.code == "idempotency_mismatch"
        assert refused.value.response.headers["x-should-retry"] == "false"
        with pytest.raises(APIStatusError) as elsewhere:
            client.embeddings.create(model="small", input="a", extra_headers=KEY)
        assert elsewhere.value.status_code == 422
        client.chat.completions.create(**ask("a"))
    with sdk(gateway, "bob") as other:
        other.chat.completions.create(**ask("b"), extra_headers=KEY)
    assert len(clean_upstream.log()) == 3
    with sdk(gateway, max_retries=0) as client, pytest.raises(APIStatusError) as malformed:
        client.chat.completions.create(**ask("a"), extra_headers=header("x" * 256))
    assert malformed.value.status_code == 400


def test_a_call_that_cost_nothing_may_be_made_again_with_its_key(start, clean_upstream):
    gateway = start(limits=[{"name": "alice-off", "each": "session", "user": "bob", "tokens": 3}])
    clean_upstream.script(preset="mock-503", times=1)
    with sdk(gateway, max_retries=0) as client:
        with pytest.raises(APIStatusError):
            client.chat.completions.create(**ask(), extra_headers=KEY)
        made = client.chat.completions.with_raw_response.create(**ask(), extra_headers=KEY)
        assert "x-comptroller-replayed" not in made.headers
    assert len(clean_upstream.log()) == 2
    assert len(gateway.settled()) == 1
    with sdk(gateway, "bob", max_retries=0) as client:
        for _ in range(2):
            with pytest.raises(APIStatusError) as refused:
                client.chat.completions.create(**ask(), extra_headers=KEY)
            assert refused.value.status_code == 402


def test_embeddings_and_a_limit_see_one_call(start, clean_upstream):
    gateway = start(limits=[{"name": "once", "each": "user", "requests": 1, "window": "day"}])
    with sdk(gateway, max_retries=0) as client:
        replies = [client.embeddings.create(model="small", input="a", extra_headers=KEY) for _ in range(3)]
    assert len({json.dumps(reply.model_dump()) for reply in replies}) == 1
    (counter,) = [each for each in gateway.cli("limits", "list", "--json").json if each["name"] == "once"]
    assert (counter["spent"], counter["remaining"]) == (1, 0)


def test_kill_9_after_the_answer_refuses_the_second_and_charges_nothing(start, clean_upstream):
    """What was answered is gone with the process; that it was made is not."""
    gateway = start()
    with sdk(gateway) as client:
        first = client.chat.completions.with_raw_response.create(**ask(), extra_headers=KEY)
    call_id = first.headers["x-comptroller-call"]
    (before,) = gateway.settled()
    gateway.kill()
    gateway.start()
    with sdk(gateway) as client, pytest.raises(APIStatusError) as refused:
        client.chat.completions.create(**ask(), extra_headers=KEY)
    assert (refused.value.status_code, refused.value.code) == (409, "idempotency_reply_gone")
    assert call_id in refused.value.message
    assert f"{before['usd_micros'] / 1e6:.6f} USD" in refused.value.message
    with sdk(gateway, max_retries=0) as client, pytest.raises(APIStatusError) as other:
        client.chat.completions.create(**ask("another"), extra_headers=KEY)
    assert other.value.status_code == 422
    assert len(clean_upstream.log()) == 1
    assert len(gateway.settled()) == 1


def test_kill_9_while_the_call_is_under_way_refuses_the_second(start, clean_upstream):
    """It was sent, nobody knows what it cost: the orphan is booked, and not made again."""
    gateway = start()
    clean_upstream.script(preset="mock-hang", times=1)

    async def cut() -> None:
        sending = asyncio.create_task(posted(gateway, [ask()], "cut"))
        await clean_upstream.until(lambda stats: stats["in_flight"] == 1, timeout_s=15)
        gateway.kill()
        await asyncio.gather(sending, return_exceptions=True)

    asyncio.run(cut())
    gateway.start()
    with sdk(gateway) as client, pytest.raises(APIStatusError) as refused:
        client.chat.completions.create(**ask(), extra_headers=header("cut"))
    assert refused.value.status_code == 409
    assert "it was charged" in refused.value.message
    assert len(clean_upstream.log()) == 1


def test_a_stream_that_its_client_left_is_refused_and_its_twin_waits_no_longer(start, clean_upstream):
    gateway = start()
    body = ask(scripted(events=200, pace_s=0.05), stream=True)
    with sdk(gateway, max_retries=0) as client:
        stream = client.chat.completions.create(**body, extra_headers=KEY)
        next(iter(stream))
        stream.close()
        eventually(lambda: clean_upstream.stats()["in_flight"] == 0, what="the upstream was let go")
        gateway.quiesce()
        with pytest.raises(APIStatusError) as refused:
            client.chat.completions.create(**body, extra_headers=KEY)
    assert refused.value.status_code == 409
    assert len(clean_upstream.log()) == 1


def test_replies_are_bounded_and_what_was_dropped_is_refused(start, clean_upstream):
    gateway = start(idempotency={"memory_max": "3KiB", "reply_max": "1KiB"})
    with sdk(gateway, max_retries=0) as client:
        for number in range(4):
            client.chat.completions.create(**ask(str(number)), extra_headers=header(f"n{number}"))
        client.chat.completions.create(**ask("3"), extra_headers=header("n3"))
        with pytest.raises(APIStatusError) as dropped:
            client.chat.completions.create(**ask("0"), extra_headers=header("n0"))
        assert dropped.value.status_code == 409
        large = ask(scripted(events=400))
        client.chat.completions.create(**large, extra_headers=header("large"))
        with pytest.raises(APIStatusError) as too_large:
            client.chat.completions.create(**large, extra_headers=header("large"))
        assert too_large.value.status_code == 409
    assert len(clean_upstream.log()) == 5


def test_a_change_by_the_admin_api_is_made_once(start):
    gateway = start()

    async def twins() -> list[tuple[int, str | None, Any]]:
        headers = {"authorization": f"Bearer {gateway.admin_token}", **header("make-a-key")}
        async with aiohttp.ClientSession() as client:

            async def one(user: str) -> tuple[int, str | None, Any]:
                url = f"{gateway.origin}/api/v1/keys"
                async with client.post(url, json={"user": user}, headers=headers) as reply:
                    return reply.status, reply.headers.get("x-comptroller-replayed"), await reply.json()

            made = await asyncio.gather(*(one("carl") for _ in range(10)))
            return [*made, await one("dora")]

    *made, other = asyncio.run(twins())
    assert {status for status, _, _ in made} == {201}
    assert len({reply["secret"] for _, _, reply in made}) == 1
    assert [replayed for _, replayed, _ in made].count("true") == 9
    assert (other[0], other[2]["error"]["code"]) == (422, "idempotency_mismatch")
    assert len([key for key in gateway.cli("keys", "list", "--json").json if key["user"] == "carl"]) == 1


def test_no_content_and_no_key_is_written_down(start):
    gateway = start()
    with sdk(gateway) as client:
        client.chat.completions.create(**ask("canary-prompt"), extra_headers=header("canary-idempotency-key"))
    gateway.terminate()
    written = gateway.books_file.read_bytes() + gateway.output().encode()
    assert b"canary" not in written
