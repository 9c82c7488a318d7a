"""Which answers of a model are kept for requests that are the same, for how long, and who shares them."""

from enum import StrEnum
from typing import NamedTuple

from gateway.core.attribution import Attribution
from gateway.core.identity import ABSENT

CACHE = "x-comptroller-cache"
SAVED = "x-comptroller-saved-usd"


class SharedBy(StrEnum):
    """Nobody outside is ever given the answer, or learns that there is one. `everyone` = all keys of this gateway."""

    KEY = "key"
    USER = "user"
    TEAM = "team"
    EVERYONE = "everyone"


class CacheRules(NamedTuple):
    kept_for_us: int
    shared_by: SharedBy


def circle(shared_by: SharedBy, attribution: Attribution) -> str:
    """Who shares an answer to this call; a key that names no user or team shares with itself alone."""
    if shared_by is SharedBy.EVERYONE:
        return "everyone"
    if shared_by is SharedBy.USER and attribution.user != ABSENT:
        return f"user\x00{attribution.user}"
    if shared_by is SharedBy.TEAM and attribution.team != ABSENT:
        return f"team\x00{attribution.team}"
    return f"key\x00{attribution.key_id}"
