"""The world's clock and randomness (ports `Clock`, `Ids`)."""

import os
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_RANDOM_BYTES = 10


class SystemClock:
    def now_us(self) -> int:
        return time.time_ns() // 1000

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()


class RandomIds:
    """`call_` + 9 characters of time (Crockford base 32 milliseconds) + 16 of randomness: sorted by time, unguessable."""

    def __init__(self) -> None:
        self._millisecond = -1
        self._stamp = ""

    def new(self, prefix: str) -> str:
        now_ms = time.time_ns() // 1_000_000
        if now_ms != self._millisecond:
            self._millisecond, self._stamp = now_ms, _base32(now_ms, 9)
        return f"{prefix}_{self._stamp}{_base32(int.from_bytes(os.urandom(_RANDOM_BYTES)), 16)}"


def _base32(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        digits.append(_ALPHABET[number & 31])
        number >>= 5
    return "".join(reversed(digits))
