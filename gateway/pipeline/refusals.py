"""Denials must not be a weapon (rule 33): a flood of refused calls costs us neither disk nor the books' time.

Unauthenticated refusals are only counted, one row a minute, reason and source network. A key that is refused more than
sixty times a minute is refused from memory with the same answer, summed in one row a minute; the same answer is for the
same model and tool in the same session only, since another call of this key may pass. What may have made that answer
wrong (a resume, a grant, another limit, key or policy) has it judged anew. What has no row of its own can be explained
from memory for a while. A full line at a provider is such an answer for a second, as long as it is full.
"""

import ipaddress
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from gateway.core.denial import Denial
from gateway.core.ledger import Refusals

MINUTE_US = 60_000_000
FLOOD_ABOVE = 60
SOURCES_MAX = 1_000
ANSWERS_MAX = 10_000
UNWRITTEN_KEPT = 5_000
FULL_KEPT_US = 1_000_000
"""After so long a call behind a full line is judged whole again, for what comes before that (rule 30)."""

Post = Callable[[Refusals], None]


class Full(Protocol):
    """What a call found full, and can look at again."""

    @property
    def full(self) -> bool: ...

    def turned_away(self) -> None: ...


class _Judged(NamedTuple):
    denial: Denial
    lines: Sequence[Full]
    at_us: int

    def holds(self, now_us: int) -> bool:
        """Whether another such call would be answered the same."""
        if self.denial.final:
            return True
        return bool(self.lines) and now_us - self.at_us < FULL_KEPT_US and all(line.full for line in self.lines)


class RefusalMeter:
    """Counts refusals of the current minute and posts their sums when it is over."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._minute = 0
        self._unauthenticated: Counter[tuple[str, str]] = Counter()
        self._by_key: Counter[str] = Counter()
        self._last: dict[tuple[str, int], _Judged] = {}
        self._unwritten: OrderedDict[str, tuple[str, Denial]] = OrderedDict()
        self._summed: Counter[tuple[str, str]] = Counter()

    def unauthenticated(self, reason: str, client: str, now_us: int) -> None:
        self._turn(now_us)
        source = network(client)
        if len(self._unauthenticated) >= SOURCES_MAX and (reason, source) not in self._unauthenticated:
            source = "others"
        self._unauthenticated[reason, source] += 1

    def refused(
        self, key_id: str, about: int, denial: Denial, now_us: int, *, judged: bool = True, lines: Sequence[Full] = ()
    ) -> bool:
        """Counts a denial of a key. True = it is to be written as a row of its own. `about` tells apart what the same
        answer is not for; `judged` = it is not from memory; `lines` are all those that were full, where that is why."""
        self._turn(now_us)
        self._by_key[key_id] += 1
        if judged and (len(self._last) < ANSWERS_MAX or (key_id, about) in self._last):
            self._last[key_id, about] = _Judged(denial, lines, now_us)
        elif not judged and (known := self._last.get((key_id, about))) is not None:
            for line in known.lines:
                line.turned_away()
        if self._by_key[key_id] > FLOOD_ABOVE:
            self._summed[key_id, denial.code.value] += 1
            self._keep(key_id, denial)
            return False
        return True

    def unwritten(self, key_id: str, call_id: str) -> Denial | None:
        """A late denial of this key that has no row of its own."""
        owner, denial = self._unwritten.get(call_id, ("", None))
        return denial if owner == key_id else None

    def flooded(self, key_id: str, now_us: int) -> bool:
        """Whether a key was refused too often this minute."""
        return now_us // MINUTE_US == self._minute and self._by_key[key_id] > FLOOD_ABOVE

    def answer(self, key_id: str, about: int, now_us: int) -> Denial | None:
        """The answer from memory for a flooding key. Only what still holds is repeated: final denials, and full lines
        that are full; any other transient one must be judged anew, or it would outlive its reason."""
        judged = self._last.get((key_id, about))
        return judged.denial if judged is not None and judged.holds(now_us) else None

    def judge_anew(self) -> None:
        """Nothing that was answered so far is repeated from memory; counting goes on."""
        self._last.clear()

    def flush(self, now_us: int) -> None:
        """Posts what a finished minute summed up; called by the housekeeper too, so that a quiet end is written."""
        self._turn(now_us)

    def _keep(self, key_id: str, denial: Denial) -> None:
        self._unwritten[denial.call_id or ""] = (key_id, denial)
        if len(self._unwritten) > UNWRITTEN_KEPT:
            self._unwritten.popitem(last=False)

    def _turn(self, now_us: int) -> None:
        minute = now_us // MINUTE_US
        if minute == self._minute:
            return
        at_us = self._minute * MINUTE_US
        for (reason, source), count in self._unauthenticated.items():
            self._post(Refusals(at_us, reason, source, count))
        for (key_id, code), count in self._summed.items():
            self._post(Refusals(at_us, code, key_id, count))
        self._unauthenticated.clear()
        self._by_key.clear()
        self._last.clear()
        self._summed.clear()
        self._minute = minute


def network(client: str) -> str:
    """The /24 or /48 of an address: enough to find an attacker, too little to be a person."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    length = 24 if address.version == 4 else 48
    return str(ipaddress.ip_network(f"{address}/{length}", strict=False))
