"""Sessions that are in use, in memory: state, what loop detection and estimates remember, how many calls are in flight.

Rules: a session enters memory when a call names it and is loaded from the books if it was there before; it leaves when
it has been idle and nothing is in flight; its first admitted call writes it down, so refused calls leave no session.
A child keeps its ancestors in memory, and a call in it is under way in them too: none of them idles meanwhile.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gateway.core.denial import Code, Denial, Refused
from gateway.core.estimate import TurnMemory
from gateway.core.fingerprint import NOWHERE, reached
from gateway.core.ledger import SessionChanged
from gateway.core.loop_memory import LoopMemory
from gateway.core.session import (
    CHILD,
    FINGERPRINT,
    Continuation,
    Lineage,
    Place,
    Session,
    SessionMark,
    SessionRules,
    SessionState,
    continue_session,
)
from gateway.ports import Books, BooksUnavailable, Ids

SESSIONS_KEPT = 20_000
ISSUED_KEPT = 20_000
GUESTS_KEPT = 20_000
MODELS_KEPT = 32
OPENED = "opened"
Address = tuple[str, str, str]


class LiveSession:
    """One session in use. `written` = the books have it; `pending` = what the next admitted call writes about it.
    `above` = its ancestors, the parent first; `children` = those in memory, by id; `lineage` is what limits see of it.
    `in_flight` counts calls of descendants too; `reached` = how far its conversation has come, where it is told from
    others by how it began."""

    __slots__ = (
        "above",
        "children",
        "in_flight",
        "lineage",
        "loops",
        "models",
        "pending",
        "reached",
        "session",
        "turns",
        "written",
    )

    def __init__(self, session: Session, *, written: bool, parent: "LiveSession | None" = None) -> None:
        self.session = session
        self.above: tuple[LiveSession, ...] = () if parent is None else (parent, *parent.above)
        self.children: dict[str, LiveSession] = {}
        self.lineage: Lineage = ()
        if parent is not None:
            self.lineage = (Place(session.id, session.parts), *(parent.lineage or (Place(parent.id),)))
        self.written = written
        self.pending: str | None = None if written else OPENED
        self.in_flight = 0
        self.reached = NOWHERE
        self.loops = LoopMemory()
        self.turns = TurnMemory()
        self.models: OrderedDict[str, None] = OrderedDict()

    @property
    def id(self) -> str:
        return self.session.id

    @property
    def opens(self) -> int:
        """How many sessions the next call opens, it and those above it: whoever comes while that one is being written
        down opens nothing more."""
        return (self.pending == OPENED) + sum([each.pending == OPENED for each in self.above])

    def take_pending(self) -> "list[tuple[LiveSession, str]]":
        """What is still to be written about it and those above it, the root first. Taken: nobody else writes it."""
        taken = [(each, action) for each in reversed((self, *self.above)) if (action := each.pending) is not None]
        for each, _ in taken:
            each.pending = None
        return taken

    def is_written(self) -> None:
        """The books have it, and so all above it."""
        self.written = True
        for each in self.above:
            each.written = True

    def used_model(self, alias: str) -> None:
        self.models[alias] = None
        self.models.move_to_end(alias)
        if len(self.models) > MODELS_KEPT:
            self.models.popitem(last=False)


class SessionRegistry:
    """All live sessions of this node."""

    def __init__(self, books: Books, ids: Ids) -> None:
        self._books = books
        self._ids = ids
        self._by_address: dict[Address, LiveSession] = {}
        self._asked: dict[Address, asyncio.Future[None]] = {}
        self._by_id: dict[str, LiveSession] = {}
        self._by_key: dict[str, dict[str, LiveSession]] = {}
        self._issued: OrderedDict[tuple[str, bytes], tuple[str, str]] = OrderedDict()
        self._guests: OrderedDict[Address, str] = OrderedDict()
        self._twins: dict[Address, list[LiveSession]] = {}
        """Conversations that began with the same words, the latest last."""
        self.in_flight = 0

    async def resolve(self, key_id: str, mark: SessionMark, rules: SessionRules, now_us: int) -> LiveSession:
        """The session that a call belongs to. Raises Refused (`session_expired`) and BooksUnavailable."""
        live = await self.find(key_id, mark)
        if live is not None and self.goes_on(live, rules, now_us):
            return live
        return self.open(key_id, mark, None, now_us)

    async def conversation(
        self, key_id: str, mark: SessionMark, said: Sequence[Any], rules: SessionRules, now_us: int, *, opens: bool
    ) -> LiveSession | None:
        """The session of a conversation of these messages, told by how it began (rule 13): of those that began so, the
        latest that it repeats, else the latest that is no longer than it. Where all are longer it is another one, which
        has a session of its own if it `opens` one (None if it does not), unless people hold one of them: beginning
        again is no way out. Raises Refused and BooksUnavailable."""
        _ = await self.find(key_id, mark)  # after a restart the books know the latest
        address = (key_id, mark.kind, mark.client_id)
        while twins := self._twins.get(address):
            fitting = [each for each in twins if each.reached.length <= len(said)]
            repeated = [each for each in fitting if each.reached.within(said)]
            held = [each for each in twins if each.session.state in (SessionState.PAUSED, SessionState.STOPPED)]
            found = repeated or fitting or held
            if not found:
                break
            live = found[-1]
            if self.goes_on(live, rules, now_us):
                live.reached = reached(said)
                twins.remove(live)
                twins.append(live)
                return live
        if not opens:
            return None
        live = self.open(key_id, mark, None, now_us)
        live.reached = reached(said)
        return live

    def take_in(self, key_id: str, mark: SessionMark, host: str) -> bool:
        """From here on calls of this sub-agent count on the session that its client calls `host`. False: that one
        counts on this. Clients name parents as they like, and a circle of them would have no end."""
        address = (key_id, mark.kind, mark.client_id)
        host = self.host_of(key_id, mark.kind, host)
        if host == mark.client_id:
            return False
        self._guests[address] = host
        self._guests.move_to_end(address)
        if len(self._guests) > GUESTS_KEPT:
            self._guests.popitem(last=False)
        return True

    def host_of(self, key_id: str, kind: str, client_id: str) -> str:
        """The client's id of the session that this one counts on; its own where it was not taken in."""
        while (host := self._guests.get((key_id, kind, client_id))) is not None:
            client_id = host
        return client_id

    async def find(self, key_id: str, mark: SessionMark) -> LiveSession | None:
        """The session of a mark, from memory or the books, whatever its state. Raises BooksUnavailable."""
        address = (key_id, mark.kind, mark.client_id)
        while (asked := self._asked.get(address)) is not None:
            await asyncio.shield(asked)  # raises what the one who asks was told
        live = self._by_address.get(address)
        return live if live is not None else await self._stored(address)

    def open(self, key_id: str, mark: SessionMark, parent: LiveSession | None, now_us: int) -> LiveSession:
        """A new session, below another one where it has a parent. Its first admitted call writes it down."""
        above = () if parent is None else (parent.id, *parent.session.ancestors)
        fresh = Session(self._ids.new("ses"), key_id, mark, SessionState.OPEN, now_us, now_us, now_us, ancestors=above)
        live = self.take_up(LiveSession(fresh, written=False, parent=parent))
        self._lead(live, (key_id, mark.kind, mark.client_id))
        return live

    async def _stored(self, address: Address) -> LiveSession | None:
        """The session as the books have it, None if they have none. They are asked once, however many calls begin a
        session together, and if they do not answer nobody asks again: each would wait for a time-out of its own. Only
        where the one who asks is cancelled does the next one ask."""
        done = self._asked[address] = asyncio.get_running_loop().create_future()
        try:
            stored = await self._books.find_session(*address)
        except BooksUnavailable as error:
            done.set_exception(BooksUnavailable(*error.args))
            done.exception()  # seen: there may be nobody who waits for it
            raise
        finally:
            del self._asked[address]
            if not done.done():
                done.set_result(None)
        above = None if stored is None or stored.parent_id is None else await self.by_id(stored.parent_id)
        live = self._by_address.get(address)
        if live is None and stored is not None:
            live = self._by_id.get(stored.id) or self.take_up(LiveSession(stored, written=True, parent=above))
            live.session = replace(live.session, mark=stored.mark)
            self._lead(live, address)
        return live

    def _lead(self, live: LiveSession, address: Address) -> None:
        """From here on a mark leads to this session."""
        self._by_address[address] = live
        if live.session.mark.kind == FINGERPRINT and live not in self._twins.setdefault(address, []):
            self._twins[address].append(live)

    def goes_on(self, live: LiveSession, rules: SessionRules, now_us: int) -> bool:
        """Whether a call may belong to the session, which reopens it where it was idle (rule 14); if not, it has left
        memory. Raises Refused (`session_expired`)."""
        match continue_session(live.session, rules, now_us, in_flight=live.in_flight):
            case Continuation.GOES_ON:
                return True
            case Continuation.REOPENS:
                live.session = replace(live.session, state=SessionState.OPEN, run_started_us=now_us)
                live.pending = "reopened" if live.written else OPENED
                return True
            case Continuation.EXPIRED:
                raise Refused(_expired(live.session, rules))
            case Continuation.STARTS_AFRESH:
                self.drop(live)
                return False

    def known(self, key_id: str, mark: SessionMark) -> LiveSession | None:
        """The session of a mark if it is in memory; asks no books and changes nothing."""
        return self._by_address.get((key_id, mark.kind, mark.client_id))

    async def by_id(self, session_id: str) -> LiveSession | None:
        """A session by our own id, from memory or the books. An old one does not become what its mark names."""
        live = self._by_id.get(session_id)
        if live is None:
            stored = await self._books.session(session_id)
            if stored is None:
                return None
            parent = None if stored.parent_id is None else await self.by_id(stored.parent_id)
            live = self._by_id.get(session_id)
            if live is None and (parent is None) is (stored.parent_id is None):
                live = self.take_up(LiveSession(stored, written=True, parent=parent))
        return live

    def of_key(self, key_id: str) -> list[LiveSession]:
        return list(self._by_key.get(key_id, {}).values())

    def active(self, key_id: str, rules: SessionRules, now_us: int) -> list[LiveSession]:
        """Sessions of a key with a call in flight or within the idle timeout, but for those that were closed."""
        since_us = now_us - int(rules.idle_timeout_s * 1_000_000)
        return [
            live
            for live in self.of_key(key_id)
            if live.written
            and live.session.state is not SessionState.CLOSED
            and (live.in_flight or live.session.last_active_us >= since_us)
        ]

    def enter(self, live: LiveSession) -> None:
        """A call of this session begins."""
        live.in_flight += 1
        self.in_flight += 1
        for ancestor in live.above:
            ancestor.in_flight += 1

    def leave(self, live: LiveSession, now_us: int) -> None:
        """It ended: idling is counted from here (rule 14). A session that never had an admitted call is forgotten."""
        live.in_flight -= 1
        self.in_flight -= 1
        live.session = live.session.active_at(now_us)
        for ancestor in live.above:
            ancestor.in_flight -= 1
            ancestor.session = ancestor.session.active_at(now_us)
        for each in (live, *live.above):
            if not each.written and not each.in_flight:
                self.drop(each)

    def change(self, live: LiveSession, state: SessionState, reason: str, actor: str, now_us: int) -> SessionChanged:
        """The session's new state; the caller writes the entry down."""
        action = {
            SessionState.PAUSED: "paused",
            SessionState.STOPPED: "stopped",
            SessionState.CLOSED: "closed",
            SessionState.OPEN: "resumed",
        }[state]
        live.session = replace(live.session, state=state, reason=reason)
        if state is SessionState.OPEN:
            live.session = replace(live.session, run_started_us=now_us)
            live.loops.forgive()
        return SessionChanged(now_us, live.session, action, actor)

    def issued(self, key_id: str, tool_digest: bytes, live: LiveSession, model: str) -> None:
        """A model reply in this session asked for this very tool call (rule 15, 20)."""
        self._issued[key_id, tool_digest] = (live.id, model)
        self._issued.move_to_end((key_id, tool_digest))
        if len(self._issued) > ISSUED_KEPT:
            self._issued.popitem(last=False)

    def issuer(self, key_id: str, tool_digest: bytes) -> tuple[str, str] | None:
        """(session id, model) of the latest reply that asked for this tool call."""
        return self._issued.get((key_id, tool_digest))

    def sweep(self, rules: SessionRules, now_us: int) -> int:
        """Lets idle sessions leave memory; the books keep them. Returns how many left."""
        before_us = now_us - int(rules.idle_timeout_s * 1_000_000)
        unused = [live for live in self._by_id.values() if not live.in_flight and not live.children]
        idle = [live for live in unused if live.session.last_active_us < before_us]
        spare = len(self._by_id) - len(idle) - SESSIONS_KEPT
        if spare > 0:
            leaving = {live.id for live in idle}
            rest = [live for live in unused if live.id not in leaving]
            idle += sorted(rest, key=lambda live: live.session.last_active_us)[:spare]
        for live in idle:
            self.drop(live)
        return len(idle)

    def drop(self, live: LiveSession) -> None:
        """Its mark leads to it no longer, and it leaves memory unless it has children there."""
        if not live.children:
            self._by_id.pop(live.id, None)
            of_key = self._by_key.get(live.session.key_id, {})
            of_key.pop(live.id, None)
            if not of_key:
                self._by_key.pop(live.session.key_id, None)
            if live.above:
                live.above[0].children.pop(live.id, None)
        address = (live.session.key_id, live.session.mark.kind, live.session.mark.client_id)
        if self._by_address.get(address) is live:
            del self._by_address[address]
        if live.session.mark.kind == FINGERPRINT:
            twins = [each for each in self._twins.pop(address, ()) if each is not live]
            if twins:
                self._twins[address] = twins

    def counts(self) -> Mapping[str, int]:
        """Sizes, for metrics."""
        return {"sessions": len(self._by_id), "issued": len(self._issued)}

    def take_up(self, live: LiveSession) -> LiveSession:
        """A session enters memory."""
        self._by_id[live.id] = live
        self._by_key.setdefault(live.session.key_id, {})[live.id] = live
        if live.above:
            live.above[0].children[live.id] = live
        return live


def put_back(taken: list[tuple[LiveSession, str]]) -> None:
    """What was taken to be written was not."""
    for live, action in taken:
        live.pending = action


def refuse_unless_open(live: LiveSession) -> None:
    """Raises Refused for a session that people or a loop verdict hold, or whose ancestors they hold (rule 16)."""
    if live.session.state is not SessionState.OPEN or live.above:
        _refuse_held(live.session, "")
        for ancestor in live.above:
            _refuse_held(ancestor.session, f", which opened session {_name(live.session)},")


def _refuse_held(session: Session, which: str) -> None:
    name = f"Session {_name(session)}{which}"
    if session.state is SessionState.PAUSED:
        text = f"{name} is paused ({session.reason}). A person must resume it; retrying does not help."
        raise Refused(Denial(Code.SESSION_PAUSED, text))
    if session.state is SessionState.STOPPED:
        text = f"{name} was stopped ({session.reason}). Make no calls in it; retrying does not help."
        raise Refused(Denial(Code.SESSION_STOPPED, text))
    if session.state is SessionState.CLOSED and (session.mark.kind == CHILD or which):
        text = f"{name} was closed ({session.reason}). Its budget went back to its parent; have a new one opened."
        raise Refused(Denial(Code.SESSION_EXPIRED, text))


def _expired(session: Session, rules: SessionRules) -> Denial:
    hours = rules.wall_time_s / 3600
    return Denial(
        Code.SESSION_EXPIRED,
        f"Session {_name(session)} has run for its whole wall time of {hours:g} h. Start a new session to go on.",
    )


def _name(session: Session) -> str:
    return f"'{session.mark.client_id}'" if session.mark.client_id else session.id
