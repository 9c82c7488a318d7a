"""What only observes: limits and deny rows that are judged and recorded, and refuse nothing."""

from gateway.core.budget import Shortfall
from gateway.core.hold import Hold


def observed(short: Shortfall) -> bool:
    return short.limit.observed


def would_deny(hold: Hold, rules: tuple[str, ...]) -> tuple[str, ...]:
    """What would have refused a call that goes ahead: policy rows, then limits."""
    if not (rules or hold.warnings):
        return ()
    limits = [f"limit:{s.limit.name}" for s in hold.warnings if observed(s)]
    return (*(f"policy:{rule}" for rule in rules), *limits)


def words(hold: Hold) -> list[str]:
    """For the header with warnings: what let the call pass that does not fit, and what would not have."""
    said = []
    for short in hold.warnings:
        if not observed(short):
            done = "slowed this call down" if short.limit.slows else "would have refused"
            said.append(f"limit {short.limit.name} {done}")
    return [*said, *(f"{what} would deny" for what in hold.would_deny)]
