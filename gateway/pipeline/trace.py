"""From the messages of a request to what loop detection looks at: the steps and words that are new in it."""

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.core.estimate import digest
from gateway.core.loop_memory import Sighting, Turn
from gateway.core.loop_text import PLAIN_BYTES_MAX, Step, step_of, without_changing, without_digits
from gateway.core.model_ask import ModelAsk
from gateway.core.wire.exchange import Exchange, ToolUse
from gateway.pipeline.plane import Plane
from gateway.pipeline.remember import tool_digest

BEGINNING_KEPT = 4_096
LETTERS_MIN = 60
"""Requests with less to them than this are compared as they are: take the ids out of them and nothing is left."""
_NO_LETTERS = bytes(byte for byte in range(256) if not chr(byte).isalpha())


def sighting_of(plane: Plane, ask: ModelAsk, body: Mapping[str, Any]) -> Sighting:
    """What this request shows; the answers of the model to be told from the request are those since the turn that it
    goes on from (rule 24)."""
    messages = ask.format.requests.messages(body)
    continues = ask.continues
    conversation = ask.format.conversation
    found = conversation.exchanges(messages, continues.message_count if continues is not None else 0)
    return Sighting(
        request=ask.request_digest,
        question=lambda: _question(ask.prompt.messages),
        conversation=digest(conversation.beginning(messages)[:BEGINNING_KEPT].encode("utf-8", "surrogatepass")),
        begins=not found and not conversation.answered(messages),
        base=continues.messages_digest if continues is not None else b"",
        turns=[_turn(plane, exchange) for exchange in found],
    )


def tool_name(name: str) -> bytes:
    """A tool as steps know it."""
    return name.encode("utf-8", "surrogatepass")[:64]


def _question(messages: bytes) -> bytes:
    if len(messages) > PLAIN_BYTES_MAX:
        return b""
    plain = without_changing(messages)
    return digest(plain) if len(plain.translate(None, _NO_LETTERS)) >= LETTERS_MIN else b""


def _turn(plane: Plane, exchange: Exchange) -> Turn:
    said = tuple(digest(without_digits(words.encode("utf-8", "surrogatepass"))) for words in exchange.said)
    if exchange.uses:
        return Turn(_step(plane, exchange.uses), b"", said)
    # Of what the model said only the words count where the same is said to it again: `step 7 of 9 is under way`.
    answer = without_digits(exchange.text.encode("utf-8", "surrogatepass"))
    words = without_changing("\n".join(exchange.said).encode("utf-8", "surrogatepass"))
    return Turn(None, digest(answer + b"\x00" + words), said)


def _step(plane: Plane, uses: Sequence[ToolUse]) -> Step:
    """All tools of one answer as one step: those that are called together are not one after the other."""
    steps = [_use(plane, use) for use in uses]
    if len(steps) == 1:
        return steps[0]
    heads = sorted({step.head for step in steps})
    return Step(
        tool=digest(b"\x00".join(sorted({step.tool for step in steps}))),
        call=digest(b"".join(sorted({step.call for step in steps}))),
        result=digest(b"".join(sorted({step.result for step in steps}))),
        plain=digest(b"".join(sorted({step.plain for step in steps}))),
        failed=all(step.failed for step in steps),
        head=" ".join(heads),
        length=max(step.length for step in steps),
    )


def _use(plane: Plane, use: ToolUse) -> Step:
    name = plane.canonical(use.name)[0]
    call = tool_digest(name, use.arguments)
    if use.result is None:
        return Step(tool_name(name), call)
    return step_of(tool_name(name), call, use.result, says_failed=use.says_failed)
