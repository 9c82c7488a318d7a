"""Detectors: the same request in a row; the same few requests in turns; the same question in ever new wording of its
ids, with the same answer each time. Pure.

Rule 23: only consecutive equal requests count, each sent after the previous successful answer was complete and within
ten minutes; parallel twins, refused or failed calls and retries never do.
"""

from collections.abc import Callable

from gateway.core.loop import Detector, Finding
from gateway.core.loop_cycle import Cycles

FORGETS_AFTER_US = 600 * 1_000_000


class IdenticalRequests:
    """How often the same digest came in a row."""

    __slots__ = ("_answered_us", "_before", "_twins", "count", "digest")

    def __init__(self) -> None:
        self.digest = b""
        self.count = 0
        self._answered_us = 0
        """When the last counted request had its successful answer, 0 = not yet."""
        self._before = (b"", 0, 0)
        """Digest, count and answer before the last counted request: what holds again if that one is withdrawn."""
        self._twins = 0
        """How many equal requests came while the counted one was open."""

    def see(self, digest: bytes, now_us: int) -> int:
        """Counts a request about to be sent; 0 for a twin of one that is still open or failed: the count stays."""
        if digest == self.digest and not self._answered_us:
            self._twins += 1
            return 0
        self._before = (self.digest, self.count, self._answered_us)
        if now_us - self._answered_us > FORGETS_AFTER_US:
            self.count = 0
        self._answered_us = self._twins = 0
        self.count = self.count + 1 if digest == self.digest else 1
        self.digest = digest
        return self.count

    def answered(self, digest: bytes, now_us: int) -> None:
        """The request had a successful, complete answer."""
        if digest == self.digest:
            self._answered_us = now_us

    def withdraw(self, digest: bytes) -> None:
        """The request was refused or failed: it does not count. Of twins, those that fail are the uncounted ones."""
        if digest != self.digest or self._answered_us:
            return
        if self._twins:
            self._twins -= 1
            return
        self.digest, self.count, self._answered_us = self._before


class Requests:
    """The requests of one session, one after the other. Of those that overlap only equal ones are looked at."""

    __slots__ = ("_answer", "_answered_us", "_answers", "_asked", "_cycles", "_open", "_question", "same")

    def __init__(self) -> None:
        self.same = IdenticalRequests()
        self._cycles = Cycles()
        self._open = b""
        self._answer = b""
        self._answers = 0
        """How many answers in a row were equal."""
        self._answered_us = 0
        self._question = b""
        self._asked = 0

    def judge(self, digest: bytes, question: Callable[[], bytes], now_us: int) -> list[Finding]:
        """Counts a request about to be sent. `question` gives the digest of what it says without what changes by
        itself, empty where there is too little of it."""
        again = digest == self.same.digest
        findings: list[Finding] = []
        times = self.same.see(digest, now_us)
        if times > 1:
            findings.append(Finding(Detector.IDENTICAL_REQUESTS, times))
        overlaps, self._open = self._open, digest
        if overlaps or now_us - self._answered_us > FORGETS_AFTER_US:
            self._cycles, self._answers, self._asked = Cycles(), 0, 0
            return findings
        rounds, length = self._cycles.ahead(digest)
        if rounds > 1:
            findings.append(Finding(Detector.CYCLE, rounds, period=length))
        if again or self._answers < 2:
            return findings
        asked = question()
        self._asked = self._asked + 1 if asked and asked == self._question else 1
        self._question = asked
        if self._asked > 1:
            findings.append(Finding(Detector.NO_PROGRESS, self._asked))
        return findings

    def answered(self, digest: bytes, answer: bytes, now_us: int) -> None:
        """`answer` = the digest of the answer's text, empty = not known."""
        self.same.answered(digest, now_us)
        self._answered_us = now_us
        if digest != self._open:
            return
        self._open = b""
        self._cycles.see(digest, b"")
        self._answers = self._answers + 1 if answer and answer == self._answer else 1
        self._answer = answer

    def withdraw(self, digest: bytes) -> None:
        self.same.withdraw(digest)
        if digest == self._open:
            self._open = b""
