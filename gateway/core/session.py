"""One run of one agent: how a call names it, which states it can be in, when it ends.

Rules 13-16: an id that a client sends is valid only inside its key and names one session for 30 days; an implicit
session (no mark) starts afresh after idling, never while paused or stopped; wall time ends with `session_expired`;
a child has a part of its parent's budget and is reached only with its signed token. Where a session stands in its tree
and what its part is never changes.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from gateway.core.limit import Unit
from gateway.core.value import value

ID_LENGTH_MAX = 128
CLIENT_ID_LIFE_US = 30 * 24 * 3600 * 1_000_000
CHILD_TOKEN_PREFIX = "cptr_ss_"
"""Signed child tokens (rule 16): one that does not verify is refused, never read as a plain id."""
CHILD_TOKEN_LENGTH_MAX = 2048
CHILD = "child"
"""The kind of mark of a session that was opened by another one."""
FINGERPRINT = "fingerprint"
"""The kind of mark that a call does not send: how its conversation began tells which run it belongs to (rule 13)."""
_PRINTABLE = re.compile(r"[\x21-\x7e]+")


class SessionState(StrEnum):
    OPEN = "open"
    PAUSED = "paused"
    STOPPED = "stopped"
    CLOSED = "closed"


TRANSITIONS: Mapping[SessionState, frozenset[SessionState]] = {
    SessionState.OPEN: frozenset({SessionState.PAUSED, SessionState.STOPPED, SessionState.CLOSED}),
    SessionState.PAUSED: frozenset({SessionState.OPEN, SessionState.STOPPED, SessionState.CLOSED}),
    SessionState.STOPPED: frozenset({SessionState.OPEN, SessionState.CLOSED}),
    SessionState.CLOSED: frozenset({SessionState.OPEN}),
}
"""Closed reopens when its client comes back within 30 days; stopped reopens only by a person (resume)."""


@dataclass(frozen=True, slots=True)
class SessionRules:
    """Operator settings, in seconds; `new_per_hour_max` counts per agent, or per key where it names no agent.
    `children_max` = children that a session may have open at once, `depth_max` = levels of them; `fingerprint` = calls
    without a mark are told apart by how their conversations began."""

    idle_timeout_s: float = 1800.0
    wall_time_s: float = 28_800.0
    new_per_hour_max: int = 60
    children_max: int = 8
    depth_max: int = 3
    fingerprint: bool = False


@value
class SessionMark:
    """How a call named its session. `kind`: header, claude-code, codex, opencode, copilot, fingerprint, child (then
    `client_id` is its token, which is never kept), or implicit (then no `client_id`). A sub-agent that its program
    marks has a `parent`, the client's id of the session above it, or `root` where no such one is known."""

    kind: str
    client_id: str = ""
    agent_part: str = ""
    parent: str = ""
    root: str = ""


IMPLICIT = SessionMark("implicit")
_NOT_THE_CLIENTS = frozenset({IMPLICIT.kind, FINGERPRINT})
"""Kinds whose sessions no id of a client names, so they start afresh after idling (rule 14)."""


class Part(NamedTuple):
    """The most that a child and its descendants may use of one unit (rule 16): a cap, nothing is set aside for it."""

    unit: Unit
    amount: int


class Place(NamedTuple):
    """One session of a lineage as limits see it."""

    session_id: str
    parts: tuple[Part, ...] = ()


Lineage = tuple[Place, ...]
"""A child, its parent, and so on to the root. Empty for a session that has no parent."""


@value
class Session:
    """A session as the books know it; `reason` says why it is paused or stopped. Wall time is from `run_started_us`,
    which a return after idling sets anew: a session that a person resumes next day is a new run with the old spend.
    `ancestors` = the ids of its parent, that one's parent, to the root; `parts` are set for children only."""

    id: str
    key_id: str
    mark: SessionMark
    state: SessionState
    opened_at_us: int
    run_started_us: int
    last_active_us: int
    reason: str = ""
    ancestors: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()

    def active_at(self, now_us: int) -> "Session":
        """The same after a call that ended now. Every call does this, and `replace` takes four times as long."""
        return Session(
            self.id,
            self.key_id,
            self.mark,
            self.state,
            self.opened_at_us,
            self.run_started_us,
            now_us,
            self.reason,
            self.ancestors,
            self.parts,
        )

    @property
    def depth(self) -> int:
        return len(self.ancestors)

    @property
    def parent_id(self) -> str | None:
        return self.ancestors[0] if self.ancestors else None


class MarkRefused(ValueError):
    """A session header that is present but unusable."""


def mark_of(headers: Mapping[str, str], body: Mapping[str, object]) -> SessionMark:
    """The mark of a model call, strongest first (research/clients.md section 4). Header names in lower case."""
    own = headers.get("x-comptroller-session")
    if own is not None:
        return SessionMark(CHILD, _child_token(own)) if _like_child_token(own) else SessionMark("header", _checked(own))
    claude = headers.get("x-claude-code-session-id")
    if claude:
        agent, parent = headers.get("x-claude-code-agent-id", ""), headers.get("x-claude-code-parent-agent-id", "")
        return _part_of("claude-code", _checked(claude), agent, parent)
    codex = headers.get("session-id")
    if codex and headers.get("originator", "").startswith("codex"):
        return _codex_thread(headers, _checked(codex), headers.get("thread-id", ""))
    turn = headers.get("x-codex-turn-metadata")
    if turn and (said := _object_in(turn)) and (from_turn := _text(said, "session_id")):
        return _codex_thread(headers, _checked(from_turn), _text(said, "thread_id"))
    opencode = headers.get("x-session-id")
    if opencode:
        above = headers.get("x-parent-session-id", "")
        if not above or above == opencode:
            return SessionMark("opencode", _checked(opencode), opencode)
        parent = _checked(above)
        if not _usable(opencode):
            return SessionMark("opencode", parent)
        return SessionMark("opencode", opencode, opencode, parent, parent)
    return _mark_in_body(body) or _cache_key_mark(headers, body) or IMPLICIT


def _part_of(kind: str, root: str, part: str, parent: str = "") -> SessionMark:
    """A sub-agent's own session below that of the run. The space between their ids is in no id of a client. What is no
    usable id is the run itself: it tells sub-agents apart, and is no reason to refuse a call."""
    if not _usable(part):
        return SessionMark(kind, root)
    return SessionMark(kind, f"{root} {part}", part, f"{root} {parent}" if _usable(parent) else root, root)


def _codex_thread(headers: Mapping[str, str], root: str, thread: str) -> SessionMark:
    """The thread of the run itself is its session; one that another thread began says so."""
    parent = headers.get("x-codex-parent-thread-id", "")
    if thread and (parent or "x-openai-subagent" in headers):
        return _part_of("codex", root, thread, parent)
    return SessionMark("codex", root, thread[:ID_LENGTH_MAX])


def _mark_in_body(body: Mapping[str, object]) -> SessionMark | None:
    metadata = body.get("metadata")
    if isinstance(metadata, Mapping) and isinstance(user_id := metadata.get("user_id"), str):
        if found := _text(_object_in(user_id), "session_id"):
            return SessionMark("claude-code", _checked(found))
        _, separator, tail = user_id.rpartition("_session_")
        if separator:
            return SessionMark("claude-code", _checked(tail))
    client = body.get("client_metadata")
    if isinstance(client, Mapping) and (found := _text(client, "session_id")):
        return SessionMark("codex", _checked(found), _text(client, "thread_id")[:ID_LENGTH_MAX])
    return None


def _cache_key_mark(headers: Mapping[str, str], body: Mapping[str, object]) -> SessionMark | None:
    """Codex and Copilot make the key of the prompt cache their session's id. Others share one among all their users, or
    send a new one each time, so it is an id only where the agent is known by its headers."""
    key = body.get("prompt_cache_key")
    if not isinstance(key, str) or not key:
        return None
    if headers.get("originator", "").startswith("codex"):
        return SessionMark("codex", _checked(key))
    return SessionMark("copilot", _checked(key)) if "x-initiator" in headers else None


def _object_in(text: str) -> Mapping[str, object]:
    """Empty where the text is no JSON object."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(said: Mapping[str, object], name: str) -> str:
    found = said.get(name)
    return found if isinstance(found, str) else ""


def _usable(client_id: str) -> bool:
    visible = len(client_id) <= ID_LENGTH_MAX and _PRINTABLE.fullmatch(client_id) is not None
    return visible and not _like_child_token(client_id)


def _checked(client_id: str) -> str:
    if _like_child_token(client_id):
        raise MarkRefused("a child-session token is taken in x-comptroller-session only")
    if not _usable(client_id):
        raise MarkRefused(f"a session id has 1 to {ID_LENGTH_MAX} visible ASCII characters")
    return client_id


def _like_child_token(text: str) -> bool:
    """In any spelling: what was meant as a token must not become an id."""
    return text[: len(CHILD_TOKEN_PREFIX)].lower() == CHILD_TOKEN_PREFIX


def _child_token(text: str) -> str:
    if len(text) > CHILD_TOKEN_LENGTH_MAX or not _PRINTABLE.fullmatch(text):
        raise MarkRefused("this child-session token is damaged")
    return text


class Continuation(StrEnum):
    """What a call does to the session that its mark names."""

    GOES_ON = "goes_on"
    REOPENS = "reopens"
    STARTS_AFRESH = "starts_afresh"
    EXPIRED = "expired"


def continue_session(session: Session, rules: SessionRules, now_us: int, *, in_flight: int) -> Continuation:
    """Whether a call with this mark goes on with the session, reopens it or needs a new one (rule 14)."""
    held_by_people = session.state in (SessionState.PAUSED, SessionState.STOPPED)
    if held_by_people:
        return Continuation.GOES_ON
    idle_us = now_us - session.last_active_us
    idle = in_flight == 0 and idle_us > rules.idle_timeout_s * 1_000_000
    over_wall = now_us - session.run_started_us > rules.wall_time_s * 1_000_000
    if session.mark.kind in _NOT_THE_CLIENTS:
        ended = idle or session.state is SessionState.CLOSED
        if ended:
            return Continuation.STARTS_AFRESH
        return Continuation.EXPIRED if over_wall else Continuation.GOES_ON
    if now_us - session.last_active_us > CLIENT_ID_LIFE_US:
        return Continuation.STARTS_AFRESH
    if session.state is SessionState.CLOSED or idle:
        return Continuation.REOPENS
    return Continuation.EXPIRED if over_wall else Continuation.GOES_ON
