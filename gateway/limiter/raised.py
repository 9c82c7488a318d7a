"""The grants that raise limits here, as they are in force now, and which of them were drawn on."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from gateway.core.counter import Counter
from gateway.core.grant import CounterName, Grants, Raises
from gateway.core.hold import Binding


class Raised:
    """`amounts` are added to limits by (limit, scope); they change when grants come, begin and end."""

    def __init__(self) -> None:
        self.amounts: Mapping[CounterName, int] = {}
        self._grants = Grants()
        self._raises = Raises()
        self._drawn: dict[CounterName, tuple[int, int]] = {}

    def take(self, grants: Grants, now_us: int) -> bool:
        """Whether that changes what is added now."""
        self._grants = grants
        return self._set(now_us)

    def turned(self, now_us: int) -> bool:
        """Whether a grant began or ended since this was last asked."""
        return not self._raises.hold_at(now_us) and self._set(now_us)

    def bind(self, bindings: Iterable[Binding]) -> Iterable[Binding]:
        """The same bindings with what is added to them."""
        if not self.amounts:
            return bindings
        more = self.amounts
        return [
            replace(b, amount=b.amount + added, granted=added) if (added := more.get((b.limit.name, b.scope))) else b
            for b in bindings
        ]

    def draw(self, bindings: Iterable[Binding], counters: Iterable[Counter], now_us: int) -> None:
        """Notes which limits a hold took beyond what they allow without grants."""
        if not self.amounts:
            return
        for b, counter in zip(bindings, counters, strict=True):
            if b.granted and (beyond := counter.spent(now_us) + counter.held - b.amount + b.granted) > 0:
                since_us, most = self._drawn.get((b.limit.name, b.scope), (now_us, 0))
                self._drawn[b.limit.name, b.scope] = since_us, max(most, beyond)

    def drawn(self) -> Mapping[CounterName, tuple[int, int]]:
        """What was noted since this was last asked: (since when, at most how far beyond)."""
        drawn, self._drawn = self._drawn, {}
        return drawn

    def _set(self, now_us: int) -> bool:
        before, self._raises = self.amounts, self._grants.at(now_us)
        self.amounts = self._raises.amounts
        return self.amounts != before
