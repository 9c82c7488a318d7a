"""All virtual keys in memory, by digest: a changed key takes effect at the next call, without asking a store."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from gateway.core.call import Caller
from gateway.core.identity import KeyState, VirtualKey

MakeCaller = Callable[[VirtualKey], Caller]


class KeyRing:
    """Keys by digest, with what was worked out about each (subjects, roles, attributes), until policy or key change."""

    def __init__(self, make_caller: MakeCaller) -> None:
        self._by_digest: dict[str, VirtualKey] = {}
        self._by_id: dict[str, VirtualKey] = {}
        self._callers: dict[str, Caller] = {}
        self._declared: dict[str, VirtualKey] = {}
        self._dropped: dict[str, tuple[VirtualKey, KeyState]] = {}
        self._make_caller = make_caller

    def caller(self, digest: str) -> Caller | None:
        """The identified key, whatever its state."""
        caller = self._callers.get(digest)
        if caller is None:
            key = self._by_digest.get(digest)
            if key is None:
                return None
            caller = self._callers[digest] = self._make_caller(key)
        return caller

    def put(self, key: VirtualKey) -> None:
        """Adds a key or replaces it by its new state."""
        old = self._by_id.get(key.id)
        if old is not None:
            self._by_digest.pop(old.digest, None)
            self._callers.pop(old.digest, None)
        self._by_id[key.id] = key
        self._by_digest[key.digest] = key
        self._callers.pop(key.digest, None)

    def declare(self, declared: Iterable[VirtualKey]) -> None:
        """The configuration's keys. A key that the file no longer has is revoked; a state set by people is kept, unless
        it was the file that set it."""
        before, self._declared = self._declared, {key.id: key for key in declared}
        for key in self._declared.values():
            known, said = self._by_id.get(key.id), before.get(key.id)
            if known is not None and key.id in self._dropped:
                said, state = self._dropped.pop(key.id)
                known = replace(known, state=state)
            by_people = known is not None and (said is None or known.state is not said.state)
            keeps = by_people and known is not None and key.state is KeyState.ACTIVE
            self.put(replace(key, state=known.state) if keeps and known is not None else key)
        for key in list(self._by_id.values()):
            if key.origin == "file" and key.id not in self._declared:
                if (said := before.get(key.id)) is not None:
                    self._dropped[key.id] = said, key.state
                self.put(replace(key, state=KeyState.REVOKED))

    def forget_callers(self) -> None:
        """After a change of policy or of declared attributes."""
        self._callers.clear()

    def get(self, key_id: str) -> VirtualKey | None:
        return self._by_id.get(key_id)

    def named(self, name: str) -> VirtualKey | None:
        """The key of that name that was not revoked."""
        live = (key for key in self._by_id.values() if key.name == name and key.state is not KeyState.REVOKED)
        return next(live, None)

    def all(self) -> list[VirtualKey]:
        return sorted(self._by_id.values(), key=lambda key: (key.created_at_us, key.name))
