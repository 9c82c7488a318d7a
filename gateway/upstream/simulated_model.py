"""The model behind the `simulated` provider: what it answers and what it counts. Pure and deterministic.

Counting: a token is four bytes of UTF-8, rounded up a text; a message costs 4 more, an image 85, declared tools their
JSON. What the last user message says steers it:

    [words:200]              the length of the answer in words
    call lookup              a call of the declared tool `lookup`; with arguments: call lookup {"query": "x"}
    [loop]                   call it again even after its result has come back: an agent that never ends
    [status:503]             an error reply of that status
    [latency:0.5] [pace:0.02]    seconds to the first byte, and before each word of a stream
"""

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MESSAGE_TOKENS = 4
IMAGE_TOKENS = 85
WORDS_MAX = 10_000
DIMENSIONS_DEFAULT = 256
DIMENSIONS_MAX = 4096
SECONDS_MAX = 600.0

_PROSE = (
    "the agent reads a plan then asks one short question and waits for its answer before it spends more of the budget "
    "every tool call is small clear and written down so that a person can follow what happened and why it was allowed "
    "results arrive in order costs stay below their limit and nothing is sent twice unless somebody asked for that"
)
_WORDS = tuple(_PROSE.split())
_MARKER = re.compile(r"\[(words|status|latency|pace|loop)(?::([0-9]+(?:\.[0-9]+)?))?\]")
_CALL = re.compile(r"\bcall\s+([A-Za-z0-9_.-]*[A-Za-z0-9_-])")

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer: text, or calls of tools as (name, arguments as JSON)."""

    text: str
    tool_calls: tuple[tuple[str, str], ...]
    finish_reason: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Steering:
    """The markers of a message. Seconds are None where the provider's own setting holds."""

    words: int | None = None
    status: int | None = None
    latency_s: float | None = None
    pace_s: float | None = None
    loop: bool = False


def tokens_of(text: str) -> int:
    return -(-len(text.encode()) // 4)


def prompt_tokens_of(request: Json) -> int:
    tokens = sum(_message_tokens(message) for message in request["messages"])
    for field in ("tools", "functions"):
        if request.get(field):
            tokens += _json_tokens(request[field])
    return tokens


def _message_tokens(message: Json) -> int:
    images = sum(1 for part in _parts(message) if part.get("type") in ("image_url", "input_image"))
    called = _json_tokens(message["tool_calls"]) if message.get("tool_calls") else 0
    return MESSAGE_TOKENS + tokens_of(text_of(message)) + images * IMAGE_TOKENS + called


def _json_tokens(value: object) -> int:
    return tokens_of(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _parts(message: Json) -> list[Json]:
    content = message.get("content")
    return [part for part in content if isinstance(part, Mapping)] if isinstance(content, list) else []


def text_of(message: Json) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in _parts(message) if isinstance(part.get("text"), str))


def last_user_text(request: Json) -> str:
    return next((text_of(message) for message in reversed(request["messages"]) if message.get("role") == "user"), "")


def steering_of(user_text: str) -> Steering:
    found = dict(_MARKER.findall(user_text))
    status = int(float(found["status"])) if found.get("status") else None
    return Steering(
        words=min(int(float(found["words"])), WORDS_MAX) if found.get("words") else None,
        status=status if status is not None and 400 <= status <= 599 else None,
        latency_s=min(float(found["latency"]), SECONDS_MAX) if found.get("latency") else None,
        pace_s=min(float(found["pace"]), SECONDS_MAX) if found.get("pace") else None,
        loop="loop" in found,
    )


def choices_of(request: Json) -> list[Choice]:
    """The `n` answers to a chat request."""
    user_text = last_user_text(request)
    steering = steering_of(user_text)
    called = _tool_calls(request, user_text, steering)
    if called:
        tokens = sum(tokens_of(name) + tokens_of(arguments) for name, arguments in called)
        return [Choice("", called, "tool_calls", tokens) for _ in range(_choice_count(request))]
    return [_text_choice(request, user_text, steering, index) for index in range(_choice_count(request))]


def _choice_count(request: Json) -> int:
    return int(request.get("n") or 1)


def _text_choice(request: Json, user_text: str, steering: Steering, index: int) -> Choice:
    text = _prose(f"{request.get('model')}\n{index}\n{user_text}", steering.words)
    cap = request.get("max_completion_tokens") or request.get("max_tokens")
    if cap is None or tokens_of(text) <= cap:
        return Choice(text, (), "stop", tokens_of(text))
    cut = text.encode()[: cap * 4].decode(errors="ignore")
    return Choice(cut, (), "length", tokens_of(cut))


def _prose(seed: str, words: int | None) -> str:
    digest = hashlib.sha256(seed.encode()).digest()
    count = 20 + digest[0] % 41 if words is None else words
    start = int.from_bytes(digest[1:5], "big")
    chosen = [_WORDS[(start + at) % len(_WORDS)] for at in range(count)]
    sentences = [" ".join(chosen[at : at + 12]) for at in range(0, count, 12)]
    return " ".join(sentence.capitalize() + "." for sentence in sentences)


def pieces_of(text: str) -> list[str]:
    """The text as it is streamed: one word an event."""
    return re.findall(r"\S+\s*|\s+", text)


def _tool_calls(request: Json, user_text: str, steering: Steering) -> tuple[tuple[str, str], ...]:
    declared = {tool["function"]["name"]: tool["function"] for tool in _functions(request)}
    wanted = request.get("tool_choice", "auto")
    if not declared or wanted == "none" or (_is_answered(request["messages"]) and not steering.loop):
        return ()
    forced = wanted.get("function", {}).get("name") if isinstance(wanted, Mapping) else None
    named = [match for match in _CALL.finditer(user_text) if match.group(1) in declared]
    calls = [(match.group(1), _given_arguments(user_text, match.end())) for match in named]
    if forced in declared:
        calls = [call for call in calls if call[0] == forced] or [(forced, None)]
    elif wanted == "required" and not calls:
        calls = [(next(iter(declared)), None)]
    if request.get("parallel_tool_calls") is False:
        calls = calls[:1]
    return tuple(
        (name, given if given is not None else json.dumps(example_of(declared[name].get("parameters") or {})))
        for name, given in calls
    )


def _functions(request: Json) -> Iterator[Json]:
    for tool in request.get("tools") or ():
        if tool.get("type") == "function" and isinstance(tool.get("function", {}).get("name"), str):
            yield tool


def _is_answered(messages: Sequence[Json]) -> bool:
    """Whether a tool's result has come back since the user last spoke."""
    return bool(messages) and messages[-1].get("role") in ("tool", "function")


def _given_arguments(text: str, at: int) -> str | None:
    rest = text[at:].lstrip()
    try:
        value, end = json.JSONDecoder().raw_decode(rest)
    except ValueError:
        return None
    return rest[:end] if isinstance(value, dict) else None


def example_of(schema: Json) -> Any:
    """The smallest value of a JSON schema as tools declare them: its required fields only."""
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    match schema.get("type", "object"):
        case "string":
            return "example"
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case "array":
            return []
        case "null":
            return None
    properties = schema.get("properties") or {}
    return {name: example_of(properties.get(name) or {"type": "string"}) for name in schema.get("required") or ()}


def embedding_of(text: str, dimensions: int) -> list[float]:
    """A unit vector of hashed words, so that texts that share words lie closer to each other."""
    sums = [0] * dimensions
    for word in text.lower().split() or [""]:
        digest = hashlib.blake2b(word.encode(), digest_size=8).digest()
        for at in range(0, 8, 2):
            bits = int.from_bytes(digest[at : at + 2], "big")
            sums[(bits >> 1) % dimensions] += 1 if bits & 1 else -1
    length = math.hypot(*sums)
    return [value / length for value in sums] if length else [1.0] + [0.0] * (dimensions - 1)
