"""What one session remembers for loop detection: its requests, its conversations, its MCP calls. Pure; bounded.

Rule 24: tool calls are counted once where the model's traffic shows them and once where MCP sees them; the verdict
takes the larger count, never the sum. Conversations are kept apart, so that sub-agents that begin with the same step
are no loop; one whose beginning was never seen (a client sends only its latest messages) goes to a trail for all such.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from gateway.core.loop import Detector, Finding, LoopAction, Verdict
from gateway.core.loop_error import UpstreamErrors
from gateway.core.loop_request import Requests
from gateway.core.loop_text import Step
from gateway.core.loop_trail import Trail

CONVERSATIONS_KEPT = 16
TWINS_MAX = 64
BURST_US = 500_000
BURSTS_KEPT = 32


class Turn(NamedTuple):
    """What came back from the model once, and what was done with it: a step with tools (`talk` is empty) or talk (no
    step). `said` are the words of people or programs after it, without numbers. Digests."""

    step: Step | None
    talk: bytes
    said: tuple[bytes, ...] = ()

    @property
    def name(self) -> bytes:
        return self.talk if self.step is None else self.step.call + self.step.result


class Sighting(NamedTuple):
    """What a request about to be sent shows. `conversation` = digest of how it began; `begins` = it has no answer of a
    model in it; `base` = digest of the earlier turn that it goes on from, empty = unknown; `turns` = what is new."""

    request: bytes
    question: Callable[[], bytes]
    conversation: bytes
    begins: bool
    base: bytes
    turns: Sequence[Turn]


class Burst(NamedTuple):
    """The latest of equal MCP calls: how many twins came before it without a pause, on which connection, when."""

    twins: int
    connection: str
    at_us: int


_NO_BURST = Burst(0, "", -BURST_US)


class LoopMemory:
    __slots__ = (
        "_bursts",
        "_conversations",
        "_latest",
        "_mcp",
        "_mcp_open",
        "_others",
        "_others_of",
        "_spared",
        "_spared_quarter",
        "_told",
        "requests",
        "upstream",
    )

    def __init__(self) -> None:
        self.requests = Requests()
        self.upstream = UpstreamErrors()
        self._conversations: dict[bytes, Trail | None] = {}
        self._others: Trail | None = None
        self._others_of = b""
        self._latest: tuple[bytes, Trail] | None = None
        self._mcp: Trail | None = None
        self._mcp_open: dict[bytes, int] = {}
        self._bursts: dict[bytes, Burst] = {}
        self._spared = False
        self._spared_quarter = 0
        self._told: set[tuple[Detector, LoopAction]] = set()

    def is_news(self, verdict: Verdict | None) -> bool:
        """Whether a verdict was not given on the session's calls before; None = this call had none."""
        if verdict is None:
            if self._told:
                self._told.clear()
            return False
        at = verdict.finding.detector, verdict.answer.action
        known = at in self._told
        self._told.add(at)
        return not known

    def judge_model(self, seen: Sighting, now_us: int) -> list[Finding]:
        """Counts a model request about to be sent, and the tool calls and talk that are new in it."""
        findings = self.requests.judge(seen.request, seen.question, now_us)
        if seen.begins:
            self._begin(seen.conversation)
        if not seen.turns:
            self._latest = None
            return findings
        trail = self._trail_of(seen)
        counted = self._counted(trail, seen)
        for turn in seen.turns[counted:]:
            if turn.step is not None:
                trail.take(turn.step)
            else:
                trail.talk(turn.talk)
            for words in turn.said:
                trail.hear(words)
            findings += trail.findings(None if turn.step is None else turn.step.tool)
        if counted == len(seen.turns):
            last = seen.turns[-1].step
            findings += trail.findings(None if last is None else last.tool)
        self._latest = seen.request, trail
        return findings

    def answered(self, request: bytes, answer: bytes, now_us: int) -> None:
        """The request had a successful, complete answer; `answer` = digest of its text, empty = not known."""
        self.requests.answered(request, answer, now_us)

    def withdraw(self, request: bytes) -> None:
        """The request was refused or failed: it does not count, and what it brought may come once more."""
        self.requests.withdraw(request)
        if self._latest is not None and self._latest[0] == request:
            self._latest[1].withdrawn = True

    def judge_mcp(self, tool: bytes, call: bytes, connection: str, now_us: int) -> list[Finding]:
        """Before an MCP call is made. One of several that are made at the same time is not looked at."""
        if self._mcp is None or self._is_twin(call, connection, now_us):
            return []
        return self._mcp.ahead(tool, call)

    def mcp_begins(self, call: bytes, connection: str, now_us: int) -> bool:
        """Whether its result is to be counted. `connection` = which one of its client's it came on, empty = unknown."""
        near, twins = self._near(call, connection, now_us)
        twin = near and twins < TWINS_MAX
        self._bursts.pop(call, None)
        self._bursts[call] = Burst(twins + twin if near else 0, connection, now_us)
        if len(self._bursts) > BURSTS_KEPT:
            del self._bursts[next(iter(self._bursts))]
        self._mcp_open[call] = self._mcp_open.get(call, 0) + 1
        return not twin

    def _is_twin(self, call: bytes, connection: str, now_us: int) -> bool:
        """Too many at the same time are a flood, and counted."""
        near, twins = self._near(call, connection, now_us)
        return near and twins < TWINS_MAX

    def _near(self, call: bytes, connection: str, now_us: int) -> tuple[bool, int]:
        """Whether an equal call is under way, or one came a moment ago on another connection or had twins itself, and
        how many there were: quick tools answer the first of several workers before the last has asked, and who waits
        for an answer before asking again stays on one connection."""
        burst = self._bursts.get(call, _NO_BURST)
        soon = now_us - burst.at_us < BURST_US and (burst.twins > 0 or connection != burst.connection)
        return soon or call in self._mcp_open, burst.twins

    def mcp_ended(self, call: bytes, step: Step | None) -> None:
        """`step` None = not to be counted."""
        left = self._mcp_open.get(call, 1) - 1
        if left:
            self._mcp_open[call] = left
        else:
            self._mcp_open.pop(call, None)
        if step is not None:
            if self._mcp is None:
                self._mcp = Trail()
            self._mcp.take(step)

    def spared(self, quarter: int) -> bool:
        """Whether a person let the session go on in this quarter of an hour, however much its agent has spent in it."""
        if self._spared:
            self._spared, self._spared_quarter = False, quarter
        return quarter == self._spared_quarter

    def forgive(self) -> None:
        """A person resumed the session: counting starts anew, with what was not counted yet."""
        self.requests, self.upstream = Requests(), UpstreamErrors()
        self._conversations = {
            name: None if trail is None else trail.anew() for name, trail in self._conversations.items()
        }
        self._others = None if self._others is None else self._others.anew()
        self._mcp = None
        self._told = set()
        self._spared = True

    def _begin(self, conversation: bytes) -> None:
        known = self._conversations
        if conversation in known:
            return
        if len(known) >= CONVERSATIONS_KEPT:
            empty = next((name for name, trail in known.items() if trail is None), None)
            del known[next(iter(known)) if empty is None else empty]
        known[conversation] = None

    def _trail_of(self, seen: Sighting) -> Trail:
        known = self._conversations
        if seen.conversation not in known:
            if not seen.base:
                self._others_of = seen.conversation
                if self._others is None:
                    self._others = Trail()
                return self._others
            self._begin(seen.conversation)
            if self._others_of == seen.conversation:
                # It was first seen in the middle: what was counted for it there goes on with it.
                known[seen.conversation], self._others = self._others, None
        trail = known.pop(seen.conversation) or Trail()
        known[seen.conversation] = trail
        return trail

    @staticmethod
    def _counted(trail: Trail, seen: Sighting) -> int:
        """How many of the turns were counted with an earlier request: one that failed, or that left no trace."""
        names = tuple(turn.name for turn in seen.turns)
        counted = 0
        if trail.withdrawn or (seen.base and seen.base == trail.base):
            for name, before in zip(names, trail.taken, strict=False):
                if name != before:
                    break
                counted += 1
        trail.base, trail.taken, trail.withdrawn = seen.base, names, False
        return counted
