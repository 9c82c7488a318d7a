"""Detector: upstream failures in a row. Pure. Failed tool results are counted by the trail of a conversation.

A client that waits as long as it was told, or says that it retries as SDKs do, does no harm however long its provider
is down. What counts is the failed call that came too soon after a failed one.
"""

IMPATIENT_WITHIN_US = 2_000_000
"""How soon is too soon where nobody said how long to wait."""


class UpstreamErrors:
    __slots__ = ("_due_us", "count")

    def __init__(self) -> None:
        self.count = 0
        self._due_us = 0

    def impatient(self, now_us: int, *, retries: bool) -> bool:
        """Whether a call that begins now comes too soon after a failed one."""
        return bool(self.count) and now_us < self._due_us and not retries

    def failed(self, now_us: int, retry_after_s: float | None, *, impatient: bool) -> None:
        wait_us = IMPATIENT_WITHIN_US if retry_after_s is None else int(retry_after_s * 1_000_000)
        self._due_us = now_us + wait_us
        if impatient or not self.count:
            self.count += 1

    def succeeded(self) -> None:
        self.count = 0
