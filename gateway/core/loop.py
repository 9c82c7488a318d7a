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
    """What one session did last."""

    __slots__ = ("_again", "_answered_us", "_before", "_latest", "_twins", "mcp_tools", "model_tools", "request")

    def __init__(self) -> None:
        self.request = Run()
        self.model_tools = Run()
        self.mcp_tools = Run()
        self._answered_us = 0
        """When the last counted request had its successful answer, 0 = not yet."""
        self._before = (b"", 0, 0)
        """Digest, count and answer before the last counted request: what holds again if that one is withdrawn."""
        self._twins = 0
        """How many equal requests came while the counted one was open."""
        self._latest = b""
        self._again = False

    def judge_request(self, digest: bytes, now_us: int, rules: LoopRules) -> Repetition | None:
        """Counts a request about to be sent. A twin of one that is still open or failed leaves the count as it is."""
        run = self.request
        self._again, self._latest = digest == self._latest, digest
        if not rules.identical_requests:
            return None
        if digest == run.digest and not self._answered_us:
            self._twins += 1
            return None
        self._before = (run.digest, run.count, self._answered_us)
        if now_us - self._answered_us > FORGETS_AFTER_US:
            run.count = 0
        self._answered_us = self._twins = 0
        return _verdict("identical_requests", run.see(digest), rules.identical_requests)

    def answered(self, digest: bytes, now_us: int) -> None:
        """The request had a successful, complete answer."""
        if digest == self.request.digest:
            self._answered_us = now_us

    def withdraw(self, digest: bytes) -> None:
        """The request was refused or failed: it does not count. Of twins, those that fail are the uncounted ones."""
        if digest != self.request.digest or self._answered_us:
            return
        if self._twins:
            self._twins -= 1
            return
        self.request.digest, self.request.count, self._answered_us = self._before

    def judge_model_tools(self, digests: Iterable[bytes], rules: LoopRules) -> Repetition | None:
        """Counts the tool calls in messages that are new since the session's last request; to be asked after
        `judge_request`, because the same request again, as SDKs send it after an error, has nothing new in it."""
        if self._again:
            return None
        return self._judge_tools(self.model_tools, digests, rules)

    def judge_mcp_tool(self, digest: bytes, rules: LoopRules) -> Repetition | None:
        return self._judge_tools(self.mcp_tools, (digest,), rules)

    def withdraw_mcp_tool(self, digest: bytes) -> None:
        """The tool call was refused, so that nothing was called: it does not count."""
        run = self.mcp_tools
        if digest == run.digest and run.count:
            run.count -= 1

    def forgive(self) -> None:
        """A person resumed the session: counting starts anew."""
        self.request, self.model_tools, self.mcp_tools = Run(), Run(), Run()
        self._answered_us = self._twins = 0
        self._again, self._latest = False, b""

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
