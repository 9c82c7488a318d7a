"""Whole agents, keys, users and teams that people have stopped: no call of theirs is let in, in whatever session."""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.core.denial import Code, Denial
from gateway.core.identity import ABSENT, VirtualKey
from gateway.core.session import SessionState

SCOPE_KINDS = ("agent", "key", "user", "team")
HALTS = frozenset({SessionState.PAUSED, SessionState.STOPPED})


@dataclass(frozen=True, slots=True)
class Stop:
    """`name` is the id where `kind` is key: names of keys can be given to another one. `state` is one of HALTS."""

    kind: str
    name: str
    state: SessionState
    reason: str
    actor: str
    at_us: int

    @property
    def scope(self) -> tuple[str, str]:
        return self.kind, self.name


def stop_of(key: VirtualKey, stops: Mapping[tuple[str, str], Stop]) -> Stop | None:
    """The stop that holds the calls of this key, the widest first."""
    for scope in (("team", key.team), ("user", key.user), ("agent", key.agent), ("key", key.id)):
        found = stops.get(scope)
        if found is not None and scope[1] != ABSENT:
            return found
    return None


def stop_denial(stop: Stop, key: VirtualKey) -> Denial:
    """What a call of `key` is told."""
    name = key.name if stop.kind == "key" else stop.name
    held = "paused" if stop.state is SessionState.PAUSED else "stopped"
    why = f" ({stop.reason})" if stop.reason else ""
    text = f"All calls of {stop.kind} '{name}' are {held}{why}. A person must resume it; retrying does not help."
    return Denial(Code.AGENT_STOPPED, text)
