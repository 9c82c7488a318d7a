"""Detector: the same tool call with the same arguments and the same result, in a row. Pure.

A call whose result changes is polling or a test run after an edit, not a loop; another serial number is no change.
"""


class SameCalls:
    __slots__ = ("call", "count", "result")

    def __init__(self) -> None:
        self.call = self.result = b""
        self.count = 0

    def see(self, call: bytes, result: bytes) -> int:
        """How many equal ones came in a row, this one included."""
        self.count = self.count + 1 if (call, result) == (self.call, self.result) else 1
        self.call, self.result = call, result
        return self.count

    def ahead(self, call: bytes) -> int:
        """What the count would be if this call, not made yet, had the result of those before it."""
        return self.count + 1 if call == self.call else 0
