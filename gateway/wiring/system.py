"""The world's clock and randomness (ports `Clock`, `Ids`)."""

import os
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_RANDOM_BYTES = 10
_IDS_AT_A_TIME = 256


class SystemClock:
    def now_us(self) -> int:
        return time.time_ns() // 1000

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()


class RandomIds:
    """`call_` + 9 characters of time (milliseconds, Crockford base 32) + 16 of randomness: sorted, unguessable."""

    def __init__(self) -> None:
        self._millisecond = -1
        self._stamp = ""
        self._random = b""
        self._used = 0

    def new(self, prefix: str) -> str:
        now_ms = time.time_ns() // 1_000_000
        if now_ms != self._millisecond:
            self._millisecond, self._stamp = now_ms, _base32(now_ms, 9)
        return f"{prefix}_{self._stamp}{_base32(self._bits(), 16)}"

    def _bits(self) -> int:
        """From the system's generator, many at a time: asking it costs more than the rest of an id."""
        if self._used >= len(self._random):
            self._random, self._used = os.urandom(_RANDOM_BYTES * _IDS_AT_A_TIME), 0
        bits = int.from_bytes(self._random[self._used : self._used + _RANDOM_BYTES], "big")
        self._used += _RANDOM_BYTES
        return bits


def _base32(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        digits.append(_ALPHABET[number & 31])
        number >>= 5
    return "".join(reversed(digits))
