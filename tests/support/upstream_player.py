"""Plays one script on one connection: the head, the body in its framing, and the fault that breaks it.

`entry` is the request's row in the log; what was really sent (events, usage, outcome) is noted there while playing.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, Protocol

from tests.support.upstream_bedrock import STREAMED, ConverseStream, InvokeStream
from tests.support.upstream_gemini import GenerateStream
from tests.support.upstream_messages import MessagesStream, messages_reply
from tests.support.upstream_replies import (
    ChatStream,
    chat_reply,
    embeddings_reply,
    encode,
    models_reply,
    not_found,
    sse,
)
from tests.support.upstream_responses import Response
from tests.support.upstream_script import Script

_REASONS = {
    200: "OK",
    302: "Found",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    429: "Too Many Requests",
}
_BEFORE_HEADERS = frozenset(
    {"hang_before_headers", "close_before_headers", "rst_before_headers", "garbage_head", "head_half", "head_hang"}
)
_MID_BODY = frozenset(
    {"hang_mid_stream", "rst_mid_stream", "close_mid_stream", "half_close", "truncated_chunk", "bad_chunk"}
)
_STREAMING = ("/chat/completions", "/responses", "/messages", ":streamGenerateContent", ":streamRawPredict", *STREAMED)
_SETTLE_S = 0.03  # lets what was written reach the peer before a reset overtakes it


class Wire(Protocol):
    """The sending side of one connection."""

    async def write(self, data: bytes) -> None: ...

    def half_close(self) -> None: ...

    def close(self) -> None: ...

    def reset(self) -> None: ...

    def reset_at_next_byte(self) -> None: ...


async def play(wire: Wire, script: Script, path: str, request: dict[str, Any], entry: dict[str, Any]) -> None:
    if script.delay_s:
        await asyncio.sleep(script.delay_s)
    if script.fault in _BEFORE_HEADERS:
        await _fail_before_headers(wire, script.fault)
    elif script.raw is not None or _is_chat_stream(script, path, request):
        await _play_stream(wire, script, path, request, entry)
    else:
        await _play_whole(wire, script, path, request, entry)
    entry["outcome"] = "complete" if script.fault in ("none", "drip", "huge_line") else f"fault:{script.fault}"
    if script.fault == "close_after_reply":
        wire.close()
    elif script.fault == "rst_next_request":
        wire.reset_at_next_byte()


def _is_chat_stream(script: Script, path: str, request: dict[str, Any]) -> bool:
    return bool(request.get("stream")) and script.body is None and path.endswith(_STREAMING)


async def _fail_before_headers(wire: Wire, fault: str) -> None:
    match fault:
        case "hang_before_headers":
            await asyncio.Event().wait()
        case "rst_before_headers":
            wire.reset()
        case "head_hang":
            await wire.write(b"HTTP/1.1 200 OK\r\ncontent-type: appli")
            await asyncio.Event().wait()
        case "garbage_head":
            await wire.write(b"this is not HTTP at all\r\n\r\n")
        case "head_half":
            await wire.write(b"HTTP/1.1 200 OK\r\ncontent-type: appli")
    wire.close()


def _head(script: Script, content_type: str, framing: tuple[str, str]) -> bytes:
    if script.head_raw is not None:
        return script.head_raw.encode("latin-1")
    fields = [("content-type", script.content_type or content_type), framing, *script.headers]
    lines = [f"HTTP/1.1 {script.status} {_REASONS.get(script.status, 'Status')}"]
    lines += [f"{name}: {value}" for name, value in fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _chunk(part: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(part), part)


async def _play_whole(wire: Wire, script: Script, path: str, request: dict[str, Any], entry: dict[str, Any]) -> None:
    status, body = _whole_body(script, path, request, entry)
    if status != 200 and script.status == 200:
        script = Script(status=status)
    await wire.write(_head(script, "application/json", ("content-length", str(len(body)))))
    if script.fault == "drip":
        await _drip(wire, script, body, framed=False)
    elif script.fault in _MID_BODY:
        await wire.write(body[: len(body) // 2])
        await _break(wire, script.fault, body[len(body) // 2 :])
    else:
        await wire.write(body)


def _whole_body(script: Script, path: str, request: dict[str, Any], entry: dict[str, Any]) -> tuple[int, bytes]:
    if script.body is not None:
        return script.status, script.body.encode()
    if path.endswith("/chat/completions"):
        reply = chat_reply(script, request, entry["seq"])
    elif path.endswith("/converse"):
        reply = ConverseStream(script, request, entry["seq"]).whole()
    elif path.endswith(("/messages", "/invoke", ":rawPredict")):
        reply = messages_reply(script, request, entry["seq"])
    elif path.endswith(":generateContent"):
        reply = GenerateStream(script, request, entry["seq"]).whole()
    elif path.endswith("/responses"):
        reply = Response(script, request, entry["seq"]).whole()
    elif path.endswith("/embeddings"):
        reply = embeddings_reply(script, request)
    elif path.endswith("/models"):
        reply = models_reply()
    else:
        return 404, encode(not_found(path))
    entry["usage"] = reply.get("usage", reply.get("usageMetadata"))
    entry["events"] = 0
    if script.fault == "huge_line":
        reply["choices"][0]["message"]["content"] = "x" * script.huge_bytes
    return script.status, encode(reply)


async def _play_stream(wire: Wire, script: Script, path: str, request: dict[str, Any], entry: dict[str, Any]) -> None:
    kind = "application/vnd.amazon.eventstream" if path.endswith(STREAMED) else "text/event-stream; charset=utf-8"
    await wire.write(_head(script, kind, ("transfer-encoding", "chunked")))
    if script.fault == "huge_line":
        await wire.write(_chunk(sse({"choices": [{"index": 0, "delta": {"content": "x" * script.huge_bytes}}]})))
    sent = 0
    async for part in _stream_parts(script, path, request, entry):
        if script.fault in _MID_BODY and sent >= script.fault_after:
            await _break(wire, script.fault, part)
            return
        if script.fault == "drip":
            await _drip(wire, script, part, framed=True)
        else:
            await wire.write(_chunk(part))
        sent += 1
        entry["sent_parts"] = sent
    await wire.write(b"0\r\n\r\n")


async def _stream_parts(
    script: Script, path: str, request: dict[str, Any], entry: dict[str, Any]
) -> AsyncIterator[bytes]:
    stream = next(kind for end, kind in _KINDS if path.endswith(end))(script, request, entry["seq"])
    for part, content in _raw_parts(script.raw) if script.raw is not None else stream.events():
        if content and script.pace_s and script.fault != "drip":
            await asyncio.sleep(script.pace_s)
        yield part
        entry["events"] = stream.content_events
        entry["usage"] = stream.usage


_KINDS: tuple[tuple[str, type[ChatStream | Response | MessagesStream | GenerateStream | ConverseStream]], ...] = (
    ("/messages", MessagesStream),
    (":streamRawPredict", MessagesStream),
    ("/responses", Response),
    (":streamGenerateContent", GenerateStream),
    ("/converse-stream", ConverseStream),
    ("/invoke-with-response-stream", InvokeStream),
    ("", ChatStream),
)


def _raw_parts(raw: tuple[str, ...]) -> Iterator[tuple[bytes, bool]]:
    for part in raw:
        yield part.encode(), True


async def _drip(wire: Wire, script: Script, body: bytes, *, framed: bool) -> None:
    for at in range(len(body)):
        byte = body[at : at + 1]
        await asyncio.sleep(script.pace_s)
        await wire.write(_chunk(byte) if framed else byte)


async def _break(wire: Wire, fault: str, part: bytes) -> None:
    match fault:
        case "hang_mid_stream":
            await asyncio.Event().wait()
        case "half_close":
            wire.half_close()
            await asyncio.Event().wait()
        case "rst_mid_stream":
            await asyncio.sleep(_SETTLE_S)
            wire.reset()
        case "truncated_chunk":
            await wire.write(b"%x\r\n" % len(part) + part[: len(part) // 2])
        case "bad_chunk":
            await wire.write(b"zz-not-a-size\r\n" + part + b"\r\n")
            await asyncio.Event().wait()
    wire.close()


def parsed_body(body: bytes) -> dict[str, Any]:
    """The JSON object of a request, or an empty one: a script may be chosen for a body that is none."""
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
