"""Virtual keys: made, listed, rotated, switched off and on, withdrawn. Durable before it takes effect."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from gateway.core.denial import time_shown
from gateway.core.identity import ABSENT, KeyState, VirtualKey, make_secret
from gateway.core.ledger import KeySaved
from gateway.management.key_limits import key_limits, limit_text
from gateway.management.refused import ManagementRefused, Unknown
from gateway.pipeline.identify import DigestOf
from gateway.pipeline.plane import Plane

NAME = re.compile(r"[^\s,*\"'`/\x00-\x1f\x7f]{1,128}")
"""As names in the configuration, so that a key made at run time can name whoever is declared there."""
PATTERN_LENGTH_MAX = 256
RANDOM_BITS = 192
Random = Callable[[int], int]
TakeUp = Callable[[VirtualKey], None]


@dataclass(frozen=True, slots=True)
class NewKey:
    """What a new key is asked to be. `limits` are texts such as `usd=5/day`; `expires_at_us` None = never; a `name` of
    None = called after those that it is for."""

    name: str | None
    user: str = ABSENT
    team: str = ABSENT
    app: str = ABSENT
    service: str = ABSENT
    agent: str = ABSENT
    models: tuple[str, ...] | None = None
    tools: tuple[str, ...] | None = None
    limits: tuple[str, ...] = ()
    expires_at_us: int | None = None
    may_assert_user: bool = False


@dataclass(frozen=True, slots=True)
class KeyDesk:
    """What key management works with: `random` gives that many random bits, `take_up` puts a saved key in force.

    Changes go one after the other: two that read the same state could bring a revoked key back.
    """

    plane: Plane
    digest_of: DigestOf
    random: Random
    take_up: TakeUp
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, init=False, repr=False, compare=False)

    async def create(self, asked: NewKey, actor: str) -> tuple[VirtualKey, str]:
        """The key and its secret, which exists nowhere else. Raises ManagementRefused, BooksUnavailable."""
        principals = (asked.user, asked.team, asked.app, asked.service, asked.agent)
        for name in (asked.name, *principals):
            if name not in (None, ABSENT) and not NAME.fullmatch(name):
                raise ManagementRefused(
                    f"'{name[:128]}' is no name: up to 128 characters without spaces, quotes, / , *"
                )
        for pattern in (*(asked.models or ()), *(asked.tools or ())):
            _check_pattern(pattern)
        limits = key_limits(asked.limits)
        now_us = self.plane.clock.now_us()
        if asked.expires_at_us is not None and asked.expires_at_us <= now_us:
            raise ManagementRefused("the key would have expired already; choose a later day")
        async with self._turn:
            if asked.name is not None and self.plane.keys.named(asked.name) is not None:
                raise ManagementRefused(f"a key named '{asked.name}' exists; choose another name or rotate that one")
            secret = make_secret(self.random(RANDOM_BITS))
            key = VirtualKey(
                id=self.plane.ids.new("key"),
                name=asked.name or self._free_name(asked),
                digest=self.digest_of(secret),
                user=asked.user,
                team=asked.team,
                app=asked.app,
                service=asked.service,
                agent=asked.agent,
                models=asked.models,
                tools=asked.tools,
                limits=limits,
                expires_at_us=asked.expires_at_us,
                may_assert_user=asked.may_assert_user,
                created_at_us=now_us,
            )
            await self._save(key, "created", actor)
        return key, secret

    async def rotate(self, reference: str, actor: str) -> tuple[VirtualKey, str]:
        """A new secret for the same key; the old one stops working at once."""
        async with self._turn:
            key = self.find(reference)
            if key.origin == "file":
                raise ManagementRefused(f"key '{key.name}' is declared in the file; change its secret there")
            self._refuse_revoked(key)
            secret = make_secret(self.random(RANDOM_BITS))
            fresh = replace(key, digest=self.digest_of(secret))
            await self._save(fresh, "rotated", actor)
        return fresh, secret

    async def set_state(self, reference: str, state: KeyState, actor: str) -> VirtualKey:
        """Enables, disables or revokes; revoked is for good."""
        async with self._turn:
            key = self.find(reference)
            if state is KeyState.REVOKED and key.state is KeyState.REVOKED:
                return key
            self._refuse_revoked(key)
            changed = replace(key, state=state)
            await self._save(changed, _ACTIONS[state], actor)
        return changed

    def find(self, reference: str) -> VirtualKey:
        """By id or name; of several keys of one name the one that was not revoked, else the newest. Raises Unknown."""
        key = self.plane.keys.get(reference) or self.plane.keys.named(reference)
        if key is None:
            key = next((key for key in reversed(self.plane.keys.all()) if key.name == reference), None)
        if key is None:
            raise Unknown(f"no key '{reference[:128]}' is known")
        return key

    def _free_name(self, asked: NewKey) -> str:
        """Made from whom the key is for; never that of another key, revoked ones included."""
        parts = [part for part in (asked.user, asked.app, asked.service, asked.agent) if part != ABSENT]
        name = "-".join(parts)[:100] or (asked.team if asked.team != ABSENT else "key")
        taken = {key.name for key in self.plane.keys.all()}
        if name not in taken:
            return name
        number = 2
        while f"{name}-{number}" in taken:
            number += 1
        return f"{name}-{number}"

    @staticmethod
    def _refuse_revoked(key: VirtualKey) -> None:
        if key.state is KeyState.REVOKED:
            raise ManagementRefused(f"key '{key.name}' was revoked, and that is final; make a new one")

    async def _save(self, key: VirtualKey, action: str, actor: str) -> None:
        await self.plane.books.commit(KeySaved(self.plane.clock.now_us(), actor, action, key))
        self.take_up(key)


_ACTIONS: Final = {KeyState.ACTIVE: "enabled", KeyState.DISABLED: "disabled", KeyState.REVOKED: "revoked"}


def _check_pattern(pattern: str) -> None:
    if not pattern or len(pattern) > PATTERN_LENGTH_MAX or "*" in pattern[:-1] or not pattern.isprintable():
        raise ManagementRefused(f"'{pattern[:80]}' is no pattern: a name, or the beginning of one with * at its end")


def key_object(key: VirtualKey) -> dict[str, Any]:
    """A key as it is shown: never its digest."""
    return {
        "id": key.id,
        "name": key.name,
        "state": key.state.value,
        "user": key.user,
        "team": key.team,
        "app": key.app,
        "service": key.service,
        "agent": key.agent,
        "models": None if key.models is None else list(key.models),
        "tools": None if key.tools is None else list(key.tools),
        "limits": [limit_text(limit) for limit in key.limits],
        "expires_at": time_shown(key.expires_at_us),
        "may_assert_user": key.may_assert_user,
        "origin": key.origin,
        "created_at": time_shown(key.created_at_us),
    }
