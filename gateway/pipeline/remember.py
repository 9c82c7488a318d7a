"""What a finished reply leaves behind in its session: for the next estimate, for loop detection, for tool calls."""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from gateway.core.estimate import digest
from gateway.core.ledger import Outcome
from gateway.core.model_ask import ModelAsk
from gateway.core.usage import Usage
from gateway.pipeline.plane import Plane
from gateway.pipeline.sessions import LiveSession


def remember_reply(  # noqa: PLR0917 - the whole of what a finished call leaves
    plane: Plane,
    key_id: str,
    live: LiveSession,
    ask: ModelAsk,
    usage: Usage,
    tool_calls: Iterable[tuple[str, str]],
    outcome: Outcome,
    text: str = "",
) -> None:
    """A model call of this session ended. `text` is all that the model said, empty where that was not kept."""
    live.used_model(ask.model.alias)
    if usage.estimated is None and ask.produces_output and ask.format.task is None:
        live.turns.remember(ask.prompt, usage.input_tokens, usage.output_tokens)
    if outcome is not Outcome.OK:
        if outcome is Outcome.CUT_BY_UPSTREAM and ask.stream:
            live.loops.upstream.failed(plane.clock.now_us(), None, impatient=False)
        return
    live.loops.upstream.succeeded()
    answer = digest(text.encode("utf-8", "surrogatepass")) if text else b""
    live.loops.answered(ask.request_digest, answer, plane.clock.now_us())
    for name, arguments in tool_calls:
        plane.sessions.issued(key_id, tool_digest(plane.canonical(name)[0], arguments), live, ask.model.alias)


def tool_digest(name: str, arguments: str | Mapping[str, Any]) -> bytes:
    """A tool call's name and arguments as one digest; the spelling of the JSON does not matter."""
    value: Any = arguments
    if isinstance(arguments, str):
        try:
            value = orjson.loads(arguments)
        except orjson.JSONDecodeError:
            value = arguments
    try:
        packed = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        # It reads four times deeper than it writes.
        packed = str(arguments).encode("utf-8", "surrogatepass")
    return digest(name.encode() + b"\x00" + packed)
