"""A short-lived token that stands for a provider credential, and when it must be renewed.

Rules: a token is used until shortly before its end and renewed well before, so that calls go on with the old one while
the new one is fetched; who issues tokens is asked again only after a rest, longer with each failure in a row.
Times are microseconds of one clock that never runs backward.
"""

from typing import NamedTuple

_SECOND_US = 1_000_000
SPARE_US = 60 * _SECOND_US
"""Before its end: a request takes its time to arrive, and clocks differ."""
RENEW_AHEAD_US = 300 * _SECOND_US
LIFETIME_S_MAX = 30 * 24 * 3600.0
RENEWED_AGAIN_US = 30 * _SECOND_US
"""Between two renewals: some issuers give the same token until it is nearly over."""
UNREACHABLE_REST_US = 1 * _SECOND_US
UNREACHABLE_REST_US_MAX = 32 * _SECOND_US
REFUSED_REST_US = 30 * _SECOND_US


class Issued(NamedTuple):
    """What an issuer gave. The lifetime counts from when it was asked."""

    value: str
    lifetime_s: float


class Token(NamedTuple):
    value: str
    usable_until_us: int
    renew_from_us: int


def token_of(issued: Issued, asked_us: int) -> Token:
    """Of a short life, a tenth is left unused and a quarter is for renewal."""
    lifetime_us = int(max(0.0, min(issued.lifetime_s, LIFETIME_S_MAX)) * _SECOND_US)
    usable_us = lifetime_us - min(SPARE_US, lifetime_us // 10)
    renew_us = usable_us - min(RENEW_AHEAD_US, lifetime_us // 4)
    return Token(issued.value, asked_us + usable_us, asked_us + renew_us)


def rest_us(failures: int, *, refused: bool) -> int:
    """How long an issuer is left alone after so many failures in a row. A refusal is an administrator's to cure."""
    if refused:
        return REFUSED_REST_US
    return min(UNREACHABLE_REST_US << min(failures - 1, 10), UNREACHABLE_REST_US_MAX)
