"""What becomes of a delivery after an attempt: sent, tried again later, or given up. Pure; chance comes in."""

from dataclasses import dataclass
from typing import NamedTuple

from gateway.core.outbox import Delivery, DeliveryState

ATTEMPTS_MAX = 60
FIRST_WAIT_S = 2.0
LONGEST_WAIT_S = 1_800.0
RETRY_FOR_S = 86_400.0
ERROR_LENGTH_MAX = 200


@dataclass(frozen=True, slots=True)
class RetryRules:
    """An attempt that fails later than `retry_for_s` after the alert was raised is the last one."""

    retry_for_s: float = RETRY_FOR_S
    attempts_max: int = ATTEMPTS_MAX


class Tried(NamedTuple):
    """How an attempt went. `error` is "" if it was taken; `final` = the receiver wants no more of this one, ever.
    `retry_after_s` is the receiver's own wish."""

    error: str = ""
    final: bool = False
    retry_after_s: float | None = None


def after_attempt(
    delivery: Delivery, tried: Tried, raised_us: int, now_us: int, chance: float, rules: RetryRules
) -> Delivery:
    """The delivery as it is now. `raised_us` is when the alert was last raised; `chance` is in [0, 1)."""
    attempts = delivery.attempts + 1
    if not tried.error:
        return Delivery(delivery.channel, DeliveryState.SENT, attempts, now_us)
    error = tried.error[:ERROR_LENGTH_MAX]
    spent = attempts >= rules.attempts_max or now_us - raised_us >= rules.retry_for_s * 1_000_000
    if tried.final or spent:
        return Delivery(delivery.channel, DeliveryState.DEAD, attempts, now_us, error)
    wait_s = retry_wait_s(attempts, chance)
    if tried.retry_after_s is not None:
        wait_s = max(wait_s, min(tried.retry_after_s, LONGEST_WAIT_S))
    return Delivery(delivery.channel, DeliveryState.WAITING, attempts, now_us + int(wait_s * 1_000_000), error)


def retry_wait_s(attempts: int, chance: float) -> float:
    """After so many failed attempts: doubling from two seconds to half an hour, half of it left to chance."""
    longest = min(LONGEST_WAIT_S, FIRST_WAIT_S * float(2 ** min(attempts - 1, 32)))
    return longest * (0.5 + chance / 2)
