"""Asking for more of one limit for one scope, and what becomes of it.

    pending -> approved -> expired | revoked
    pending -> denied | withdrawn | lapsed

Rules: a request is decided once, by somebody else than who asked; approving it makes one grant, of the asked amount or
less, which ends by itself; a request nobody decided ends when the time is over for which it asked.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from gateway.core.grant import Grant

REASON_LENGTH_MAX = 500
_OWN_KINDS = ("user:", "agent:", "app:", "service:", "key:")
"""Whoever shares one of these with the asker is the asker. Teams and roles are shared by those who decide, too."""


class RequestState(StrEnum):
    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    WITHDRAWN = "withdrawn"
    LAPSED = "lapsed"
    EXPIRED = "expired"
    REVOKED = "revoked"


class RequestSettled(ValueError):
    """A change that the state of the request does not allow; the message says which it is in."""


@dataclass(frozen=True, slots=True)
class QuotaRequest:
    """Amounts in the limit's unit. `until_us` is until when more is asked for; `subjects` are all that the asker acts
    as; `key_id` and `session_id` are "" where an administrator gave it unasked.

    `granted`, `from_us` and `ends_us` are the grant's, 0 without one; `used_us` is when it was first drawn on. `reason`
    and `note` are free texts of the asker and of who decided: they are never put into the journal.
    """

    id: str
    limit: str
    scope: str
    unit: str
    amount: int
    until_us: int
    asked_us: int
    key_id: str = ""
    session_id: str = ""
    subjects: tuple[str, ...] = ()
    state: RequestState = RequestState.PENDING
    decided_us: int = 0
    decided_by: str = ""
    granted: int = 0
    from_us: int = 0
    ends_us: int = 0
    used_us: int = 0
    reason: str = ""
    note: str = ""

    @property
    def grant(self) -> Grant | None:
        """What it adds to its limit; None unless it is approved."""
        if self.state is not RequestState.APPROVED:
            return None
        return Grant(self.id, self.limit, self.scope, self.granted, self.from_us, self.ends_us)

    def asked_by_any_of(self, subjects: frozenset[str]) -> bool:
        return any(subject.startswith(_OWN_KINDS) and subject in subjects for subject in self.subjects)

    def approved(self, amount: int, from_us: int, ends_us: int, by: str, now_us: int, note: str) -> "QuotaRequest":
        """Raises RequestSettled; ValueError for a raise that is larger than asked, of nothing, or over already."""
        self._still(RequestState.PENDING)
        if not 0 < amount <= self.amount:
            raise ValueError("what is granted is more than nothing and at most what was asked for")
        if ends_us <= max(from_us, now_us):
            raise ValueError("the raise would be over before it begins")
        return replace(
            self,
            state=RequestState.APPROVED,
            decided_us=now_us,
            decided_by=by,
            granted=amount,
            from_us=from_us,
            ends_us=ends_us,
            note=note,
        )

    def denied(self, by: str, now_us: int, note: str) -> "QuotaRequest":
        """Raises RequestSettled."""
        self._still(RequestState.PENDING)
        return replace(self, state=RequestState.DENIED, decided_us=now_us, decided_by=by, note=note)

    def withdrawn(self, by: str, now_us: int) -> "QuotaRequest":
        """A pending request is no longer asked for; a grant in force ends here. Raises RequestSettled."""
        if self.state is RequestState.APPROVED:
            return replace(self, state=RequestState.REVOKED, ends_us=max(self.from_us, min(self.ends_us, now_us)))
        self._still(RequestState.PENDING)
        return replace(self, state=RequestState.WITHDRAWN, decided_us=now_us, decided_by=by)

    def drawn_on(self, at_us: int) -> "QuotaRequest":
        return replace(self, used_us=at_us)

    def over(self, now_us: int) -> "QuotaRequest | None":
        """What becomes of it because its time is over; None while that is not so."""
        if self.state is RequestState.PENDING and self.until_us <= now_us:
            return replace(self, state=RequestState.LAPSED)
        if self.state is RequestState.APPROVED and self.ends_us <= now_us:
            return replace(self, state=RequestState.EXPIRED)
        return None

    def _still(self, state: RequestState) -> None:
        if self.state is not state:
            raise RequestSettled(f"request {self.id} is {self.state.value}, not {state.value}")
