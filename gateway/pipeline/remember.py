"""What a finished reply leaves behind in its session: for the next estimate, for loop detection, for tool calls."""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from gateway.core.estimate import digest
from gateway.core.model_ask import ModelAsk
from gateway.core.usage import Usage
from gateway.pipeline.plane import Plane
from gateway.pipeline.sessions import LiveSession


def remember_reply(
    plane: Plane,
    key_id: str,
    live: LiveSession,
    ask: ModelAsk,
    usage: Usage,
    tool_calls: Iterable[tuple[str, str]],
    *,
    ok: bool,
) -> None:
    """A model call of this session ended."""
    live.used_model(ask.model.alias)
    if usage.estimated is None and ask.produces_output:
        live.turns.remember(ask.prompt, usage.input_tokens, usage.output_tokens)
    if not ok:
        return
    live.loops.answered(ask.request_digest, plane.clock.now_us())
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
