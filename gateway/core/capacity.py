"""What one provider can take, and into which shares it is divided. Frozen; a reload makes new ones.

A share is a selector with a weight; a call belongs to the first that selects it, in the order of the file, and all that
none selects share one more, `others`. The part of the capacity that a share's weight stands for is its guarantee.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from gateway.core.attribution import Attribution

OTHERS = "others"
WAIT_HEADER = "x-comptroller-wait"
_CLIENT_TIMEOUTS = ("x-stainless-timeout", "x-stainless-read-timeout")
_SECONDS = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class ShareRule:
    """The calls that `kind: value` selects, e.g. `team: platform`, `label:tier: gold`."""

    kind: str
    value: str
    weight: int

    @property
    def name(self) -> str:
        return f"{self.kind}:{self.value}"


@dataclass(frozen=True, slots=True)
class CapacityRules:
    """Bounds of one provider; None = not bounded. `line_max` = calls that may wait, `wait_us` = how long at most."""

    provider: str
    concurrent: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    shares: tuple[ShareRule, ...] = ()
    default_weight: int = 1
    line_max: int = 1000
    wait_us: int = 10_000_000

    @property
    def weight(self) -> int:
        """Of all shares together."""
        return sum(share.weight for share in self.shares) + self.default_weight

    def share_of(self, call: Attribution) -> str:
        """The name of the share that a call belongs to."""
        return next((share.name for share in self.shares if call.matches(share.kind, share.value)), OTHERS)


class ShareFigures(NamedTuple):
    """One share now. `guaranteed` = slots that are its own, None where calls in flight are not bounded."""

    share: str
    weight: int
    guaranteed: float | None
    in_flight: int
    waiting: int


class ModelFigures(NamedTuple):
    """What a provider's own answers allow for one of its models: `in_flight_max` None = it set no bound lately."""

    model: str
    in_flight: int
    in_flight_max: int | None
    paused_s: float


class CapacityFigures(NamedTuple):
    """A provider's capacity now, and what happened to calls since the start."""

    provider: str
    rules: CapacityRules
    in_flight: int
    waiting: int
    shares: tuple[ShareFigures, ...]
    models: tuple[ModelFigures, ...]
    admitted: int
    waited: int
    waited_us: int
    refused: int
    upstream_refusals: int


def patience_us(headers: Mapping[str, str], wait_us: int, service_us: int) -> int:
    """How long a call may wait: at most `wait_us`, what it asks for itself (`x-comptroller-wait`, in seconds), and what
    its client's own timeout leaves beside the time that calls usually take."""
    found = wait_us
    asked = _seconds_us(headers.get(WAIT_HEADER))
    if asked is not None:
        found = min(found, asked)
    for name in _CLIENT_TIMEOUTS:
        timeout_us = _seconds_us(headers.get(name))
        if timeout_us is not None:
            found = min(found, max(0, timeout_us - service_us))
    return found


def _seconds_us(text: str | None) -> int | None:
    return round(float(text) * 1_000_000) if text is not None and _SECONDS.fullmatch(text) else None
