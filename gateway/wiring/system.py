"""The world's clock and randomness (ports `Clock`, `Ids`)."""

import os
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_STAMP_LENGTH = 9
_RANDOM_LENGTH = 16
_IDS_AT_A_TIME = 256
# Every byte becomes one character; 256 is a multiple of 32, so each is equally likely.
_CHARACTERS = (_ALPHABET * 8).encode()


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
        self._random = ""
        self._used = 0

    def new(self, prefix: str) -> str:
        now_ms = time.time_ns() // 1_000_000
        if now_ms != self._millisecond:
            self._millisecond, self._stamp = now_ms, _base32(now_ms, _STAMP_LENGTH)
        if self._used >= len(self._random):
            # From the system's generator, many at a time: asking it costs more than the rest of an id.
            self._random = os.urandom(_RANDOM_LENGTH * _IDS_AT_A_TIME).translate(_CHARACTERS).decode("ascii")
            self._used = 0
        start, self._used = self._used, self._used + _RANDOM_LENGTH
        return f"{prefix}_{self._stamp}{self._random[start : self._used]}"


def _base32(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        digits.append(_ALPHABET[number & 31])
        number >>= 5
    return "".join(reversed(digits))
