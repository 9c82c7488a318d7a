"""An agent as a script plays it: its conversations grow as those of real agents do, and every turn is a real request.

A shape (`runaways.py`, `honest.py`) is a function of an `Agent`; what carries its turns is a `Player`.
"""

import asyncio
import random
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

Message = dict[str, Any]
TOOLS = (
    *("read_file", "edit_file", "run_tests", "search", "fetch", "status", "sleep", "write_row", "classify", "lint"),
    *("todo_write", "git_status", "query", "delegate", "deploy"),
)


class Stopped(Exception):
    """The gateway refused a turn for good."""

    def __init__(self, code: str, detector: str) -> None:
        super().__init__(f"{code} {detector}")
        self.code = code
        self.detector = detector


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model is to answer. `status` other than 200 = the provider fails."""

    text: str | None = None
    calls: tuple[tuple[str, str, str], ...] = ()
    status: int = 200


class Player(Protocol):
    async def chat(self, messages: Sequence[Message], reply: Reply, *, stream: bool, patient: bool) -> bool:
        """One model request; False if the provider failed. Raises Stopped."""

    async def tool(self, name: str, arguments: dict[str, Any], result: str, *, failed: bool) -> None:
        """One tool call on MCP. Raises Stopped."""


@dataclass(slots=True)
class Use:
    """A tool call that the model asks for, and what the tool will answer."""

    name: str
    arguments: dict[str, Any]
    result: str


@dataclass(slots=True)
class Agent:
    player: Player
    rng: random.Random
    messages: list[Message] = field(default_factory=list)
    stream: bool = False
    _ids: int = 0

    def begin(self, task: str, system: str = "You are a careful agent.") -> "Agent":
        self.messages = [{"role": "system", "content": system}, {"role": "user", "content": task}]
        return self

    def another(self, task: str) -> "Agent":
        """A sub-agent: a conversation of its own in the same session."""
        return Agent(self.player, self.rng, stream=self.stream).begin(task)

    def say(self, text: str) -> None:
        self.messages.append({"role": "user", "content": text})

    async def answer(self, text: str) -> None:
        """The model answers with words."""
        await self._ask(Reply(text))
        self.messages.append({"role": "assistant", "content": text})

    async def use(self, *uses: Use) -> None:
        """The model asks for tools, all at once, and gets their results."""
        calls = []
        for use in uses:
            self._ids += 1
            calls.append((f"call_{self._ids}_{self.rng.getrandbits(32):08x}", use.name, _json(use.arguments)))
        await self._ask(Reply(None, tuple(calls)))
        functions = [
            {"id": at, "type": "function", "function": {"name": name, "arguments": text}} for at, name, text in calls
        ]
        self.messages.append({"role": "assistant", "content": None, "tool_calls": functions})
        for (at, _, _), use in zip(calls, uses, strict=True):
            self.messages.append({"role": "tool", "tool_call_id": at, "content": use.result})

    async def step(self, name: str, result: str, **arguments: Any) -> None:
        await self.use(Use(name, arguments, result))

    async def fail(self, *, patient: bool, status: int = 500) -> None:
        """The provider fails; the conversation stays as it is."""
        await self.player.chat(self.messages, Reply(None, status=status), stream=False, patient=patient)

    async def mcp(self, name: str, result: str, *, failed: bool = False, **arguments: Any) -> None:
        await self.player.tool(name, arguments, result, failed=failed)

    async def _ask(self, reply: Reply) -> None:
        await self.player.chat(self.messages, reply, stream=self.stream, patient=True)

    def word(self) -> str:
        return self.rng.choice(_WORDS)

    def words(self, count: int) -> str:
        return " ".join(self.rng.choice(_WORDS) for _ in range(count))

    def uuid(self) -> str:
        text = f"{self.rng.getrandbits(128):032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def clock(self) -> str:
        """A time of day, never the same twice in one run."""
        self._ids += 1
        seconds = 36_000 + self._ids * 7
        return f"2026-11-24T{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}Z"


async def together(*turns: Awaitable[None]) -> None:
    """Several turns at the same time, all to their end."""
    for outcome in await asyncio.gather(*turns, return_exceptions=True):
        if outcome is not None:
            raise outcome


def _json(arguments: dict[str, Any]) -> str:
    return "{" + ", ".join(f'"{name}": {_value(value)}' for name, value in arguments.items()) + "}"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else '"' + str(value).replace('"', "'").replace("\n", "\\n") + '"'


_WORDS = (
    *("invoice", "ledger", "parser", "retry", "budget", "stream", "token", "window", "quarter", "region"),
    *("account", "handler", "cache", "index", "schema", "worker", "queue", "report", "export", "currency"),
    *("rounding", "migration", "journal", "segment", "checksum", "adapter", "latency", "timeout", "header"),
    *("payload", "session", "policy", "limit", "counter", "rollup", "tenant", "digest", "cursor", "page", "batch"),
    *("vector", "corpus", "abstract", "method", "result", "appendix"),
)
