"""Runaway agents: the same request again, the same tool call again. Pure; one `LoopMemory` per session.

Rules 23 and 24: only consecutive equal requests count, each sent after the previous successful answer was complete and
within ten minutes; parallel twins, refused or failed calls and retries never do. Tool calls are counted once where the
model's traffic shows them and once where MCP sees them, and the verdict takes the larger count, never the sum.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

FORGETS_AFTER_US = 600 * 1_000_000
WARN_AT = 3


class LoopAction(StrEnum):
    OFF = "off"
    NOTE = "note"
    WARN = "warn"
    PAUSE = "pause"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class LoopRules:
    """After how many equal ones in a row the action is taken; 0 switches a detector off."""

    identical_requests: int = 5
    identical_tool_calls: int = 6
    action: LoopAction = LoopAction.PAUSE


@dataclass(frozen=True, slots=True)
class Repetition:
    """What repeats and how often: `act` = the configured number is reached, otherwise it is only worth a warning."""

    kind: str
    count: int
    act: bool

    def words(self) -> str:
        what = "the same request" if self.kind == "identical_requests" else "the same tool call with the same arguments"
        return f"{what} {self.count} times in a row"


class Run:
    """How often the same digest came in a row."""

    __slots__ = ("count", "digest")

    def __init__(self) -> None:
        self.digest = b""
        self.count = 0

    def see(self, digest: bytes) -> int:
        self.count = self.count + 1 if digest == self.digest else 1
        self.digest = digest
        return self.count


class LoopMemory:
    """What one session did last. `answered_us` = when the last counted request had its successful answer, 0 = not yet."""

    __slots__ = ("_answered_before_us", "answered_us", "mcp_tools", "model_tools", "request")

    def __init__(self) -> None:
        self.request = Run()
        self.answered_us = 0
        self._answered_before_us = 0
        self.model_tools = Run()
        self.mcp_tools = Run()

    def judge_request(self, digest: bytes, now_us: int, rules: LoopRules) -> Repetition | None:
        """Counts a request about to be sent. A twin of one that is still open or failed leaves the count as it is."""
        if not rules.identical_requests:
            return None
        if digest == self.request.digest:
            fresh = self.answered_us and now_us - self.answered_us <= FORGETS_AFTER_US
            if not self.answered_us:
                return None
            if not fresh:
                self.request = Run()
        count = self.request.see(digest)
        self._answered_before_us, self.answered_us = self.answered_us, 0
        return _verdict("identical_requests", count, rules.identical_requests)

    def answered(self, digest: bytes, now_us: int) -> None:
        """The request had a successful, complete answer."""
        if digest == self.request.digest:
            self.answered_us = now_us

    def withdraw(self, digest: bytes) -> None:
        """The request was refused or failed: it does not count."""
        if digest == self.request.digest and not self.answered_us:
            self.request.count -= 1
            self.answered_us = self._answered_before_us

    def judge_model_tools(self, digests: Iterable[bytes], rules: LoopRules) -> Repetition | None:
        """Counts the tool calls in messages that are new since the session's last request."""
        return self._judge_tools(self.model_tools, digests, rules)

    def judge_mcp_tool(self, digest: bytes, rules: LoopRules) -> Repetition | None:
        return self._judge_tools(self.mcp_tools, (digest,), rules)

    def forgive(self) -> None:
        """A person resumed the session: counting starts anew."""
        self.request, self.model_tools, self.mcp_tools = Run(), Run(), Run()
        self.answered_us = 0

    def _judge_tools(self, run: Run, digests: Iterable[bytes], rules: LoopRules) -> Repetition | None:
        worst = 0
        for digest in digests:
            worst = max(worst, run.see(digest))
        if not worst or not rules.identical_tool_calls:
            return None
        return _verdict("identical_tool_calls", worst, rules.identical_tool_calls)


def _verdict(kind: str, count: int, acts_at: int) -> Repetition | None:
    if count >= acts_at:
        return Repetition(kind, count, act=True)
    return Repetition(kind, count, act=False) if count >= WARN_AT else None
