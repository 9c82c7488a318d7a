"""Virtual keys: made, listed, rotated, switched off and on, withdrawn. Durable before it takes effect."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from gateway.core.denial import time_shown
from gateway.core.identity import ABSENT, KeyLimit, KeyState, VirtualKey, make_secret
from gateway.core.ledger import KeySaved
from gateway.core.limit import Unit
from gateway.core.money import MoneyInvalid, usd_to_micros
from gateway.core.window import WindowInvalid, parse
from gateway.pipeline.identify import DigestOf
from gateway.pipeline.plane import Plane

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
RANDOM_BITS = 192
Random = Callable[[int], int]
TakeUp = Callable[[VirtualKey], None]


class ManagementRefused(ValueError):
    """A change that is not possible; the message says why and what would be."""


class Unknown(ManagementRefused):
    """What was named does not exist."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """What a new key is asked to be. `limits` are texts such as `usd=5/day`; `expires_at_us` None = never."""

    name: str
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
    """What key management works with: `random` gives that many random bits, `take_up` puts a saved key in force."""

    plane: Plane
    digest_of: DigestOf
    random: Random
    take_up: TakeUp

    async def create(self, asked: NewKey, actor: str) -> tuple[VirtualKey, str]:
        """The key and its secret, which exists nowhere else. Raises ManagementRefused, BooksUnavailable."""
        for name in (asked.name, asked.user, asked.team, asked.app, asked.service, asked.agent):
            if name != ABSENT and not NAME.fullmatch(name):
                raise ManagementRefused(f"'{name}' is no name: letters, digits and . _ @ - , at most 64 characters")
        if self.plane.keys.named(asked.name) is not None:
            raise ManagementRefused(f"a key named '{asked.name}' exists; choose another name or rotate that one")
        secret = make_secret(self.random(RANDOM_BITS))
        key = VirtualKey(
            id=self.plane.ids.new("key"),
            name=asked.name,
            digest=self.digest_of(secret),
            user=asked.user,
            team=asked.team,
            app=asked.app,
            service=asked.service,
            agent=asked.agent,
            models=asked.models,
            tools=asked.tools,
            limits=tuple(key_limit(text) for text in asked.limits),
            expires_at_us=asked.expires_at_us,
            may_assert_user=asked.may_assert_user,
            created_at_us=self.plane.clock.now_us(),
        )
        await self._save(key, "created", actor)
        return key, secret

    async def rotate(self, reference: str, actor: str) -> tuple[VirtualKey, str]:
        """A new secret for the same key; the old one stops working at once."""
        key = self.find(reference)
        if key.origin == "file":
            raise ManagementRefused(f"key '{key.name}' is declared in the file; change its secret there")
        secret = make_secret(self.random(RANDOM_BITS))
        fresh = replace(key, digest=self.digest_of(secret))
        await self._save(fresh, "rotated", actor)
        return fresh, secret

    async def set_state(self, reference: str, state: KeyState, actor: str) -> VirtualKey:
        """Enables, disables or revokes; revoked is for good."""
        key = self.find(reference)
        if key.state is KeyState.REVOKED:
            raise ManagementRefused(f"key '{key.name}' was revoked, and that is final; make a new one")
        changed = replace(key, state=state)
        actions = {KeyState.ACTIVE: "enabled", KeyState.DISABLED: "disabled", KeyState.REVOKED: "revoked"}
        await self._save(changed, actions[state], actor)
        return changed

    def find(self, reference: str) -> VirtualKey:
        """By id or name. Raises Unknown."""
        key = self.plane.keys.get(reference) or self.plane.keys.named(reference)
        if key is None:
            raise Unknown(f"no key '{reference}' is known")
        return key

    async def _save(self, key: VirtualKey, action: str, actor: str) -> None:
        await self.plane.books.commit(KeySaved(self.plane.clock.now_us(), actor, action, key))
        self.take_up(key)


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
        "limits": [f"{limit.unit}={limit.amount}/{limit.window}" for limit in key.limits],
        "expires_at": time_shown(key.expires_at_us),
        "may_assert_user": key.may_assert_user,
        "origin": key.origin,
        "created_at": time_shown(key.created_at_us),
    }


def key_limit(text: str) -> KeyLimit:
    """`usd=5/day`, `tokens=200000/5h`, `requests=60/minute`, `concurrent=4`. Raises ManagementRefused."""
    unit, separator, rest = text.partition("=")
    amount_text, _, window = rest.partition("/")
    if not separator or unit not in tuple(Unit):
        units = ", ".join(Unit)
        raise ManagementRefused(f"'{text}' is no limit: write it like usd=5/day; units are {units}")
    if unit == Unit.CONCURRENT:
        window = "total"
    try:
        amount = usd_to_micros(amount_text) if unit == Unit.USD else int(amount_text.replace("_", ""))
        parse(window)
    except MoneyInvalid as error:
        raise ManagementRefused(f"'{text}': {error}") from error
    except WindowInvalid as error:
        raise ManagementRefused(f"'{text}': {error}") from error
    except ValueError as error:
        raise ManagementRefused(f"'{text}': '{amount_text}' is not a whole number") from error
    if amount < 0:
        raise ManagementRefused(f"'{text}': an amount cannot be negative")
    return KeyLimit(unit, amount, window)
