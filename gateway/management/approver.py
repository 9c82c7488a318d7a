"""Who decides about requests for more: a person with the right, never the one who asked.

The admin token acts as an administrator, who needs no row of the policy; where the actor is named `user:<name>`, the
policy must allow that person `portal:requests:approve`. The name after `admin:` is compared with askers, too.
"""

import re
from dataclasses import dataclass

from gateway.core.condition_context import PolicyContext
from gateway.core.identity import VirtualKey
from gateway.core.quota_request import QuotaRequest
from gateway.management.keys import NAME
from gateway.management.refused import ManagementRefused
from gateway.pipeline.authorize import local_time, principal_attributes
from gateway.pipeline.plane import Plane

APPROVE = "portal:requests:approve"
NOTHING = "-"
USER = "user:"
ADMIN = "admin:"
_KEY_SCOPE = re.compile(r"key:(.+)")
_SESSION_SCOPE = re.compile(r"session:(.+)")


@dataclass(frozen=True, slots=True)
class Approver:
    """`actor` is whom the journal names; `person` is the name to judge, None = an administrator."""

    actor: str
    person: str | None

    @property
    def subjects(self) -> frozenset[str]:
        """What is compared with whoever asked."""
        return frozenset({self.actor.replace(ADMIN, USER, 1) if self.person is None else self.actor})


CALLER = "caller"
BY_ASKER = Approver(CALLER, None)
"""The key that asked, which may always take back what it asked for."""


def approver_of(actor: str) -> Approver:
    """From the journal's word for the caller of the admin API: `admin`, `admin:<name>`, or `admin:user:<name>` where a
    person is named. Raises ManagementRefused."""
    named = actor.removeprefix(ADMIN)
    if not named.startswith(USER):
        return Approver(actor, None)
    person = named.removeprefix(USER)
    if not NAME.fullmatch(person):
        raise ManagementRefused(f"'{person[:80]}' is no name of a user")
    return Approver(named, person)


def refuse_unless_allowed(plane: Plane, approver: Approver) -> None:
    """Raises ManagementRefused for a person whom no row allows it."""
    if approver.person is None:
        return
    known = principal_attributes(plane, VirtualKey("", "", "", user=approver.person))
    attributes = {name: value for name, value in known.items() if not name.startswith("key.")}
    context = PolicyContext(principal=attributes, local_time=local_time(plane.clock.now_us(), plane.policy_zone))
    decision = plane.policy.decide(frozenset({approver.actor}), NOTHING, NOTHING, APPROVE, context)
    if not decision.allowed:
        raise ManagementRefused(f"{approver.actor} may not decide this: {decision.reason} ({APPROVE})")


def refuse_own(approver: Approver, request: QuotaRequest) -> None:
    """Raises ManagementRefused where approver and asker are the same."""
    if request.asked_by_any_of(approver.subjects):
        raise ManagementRefused(f"{approver.actor} asked for this; another person must decide")


async def subjects_behind(plane: Plane, scope: str) -> tuple[str, ...]:
    """All that the ones act as who use what is counted under a scope."""
    key = None
    if (named := _KEY_SCOPE.fullmatch(scope)) is not None:
        key = plane.keys.named(named[1])
    elif (session := _SESSION_SCOPE.fullmatch(scope)) is not None:
        found = await plane.books.session(session[1])
        key = None if found is None else plane.keys.get(found.key_id)
    return (scope, *(sorted(key.subjects()) if key is not None else ()))
