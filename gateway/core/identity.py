"""Who is calling: virtual keys, their secrets, and the attributes that the operator declared for principals.

Secret format (after GitHub's token format): `cptr_sk_` + 32 base62 characters (190 bits) + 6 base62 characters of
CRC-32 over all that stands before, so that a typo or a made-up key is refused before any look-up, and scanners can tell
real keys from look-alikes. Only a keyed digest of a secret is ever kept.
"""

import hashlib
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

PREFIX = "cptr_sk_"
RANDOM_LENGTH = 32
CHECKSUM_LENGTH = 6
SECRET_PATTERN = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{RANDOM_LENGTH + CHECKSUM_LENGTH}}}")
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PAIRS = tuple(high + low for high in _BASE62 for low in _BASE62)
_EMPTY: Mapping[str, str] = MappingProxyType({})

ABSENT = "-"
"""What stands for a user, team, app, service or agent that a key does not name (rule 27)."""


def make_secret(random_bits: int) -> str:
    """A well-formed secret from at least 190 random bits."""
    body = PREFIX + _base62(random_bits, RANDOM_LENGTH)
    return body + _checksum(body)


def well_formed(secret: str) -> bool:
    """Whether prefix, length, alphabet and checksum are right; says nothing about whether the key exists."""
    if not SECRET_PATTERN.fullmatch(secret):
        return False
    body, checksum = secret[:-CHECKSUM_LENGTH], secret[-CHECKSUM_LENGTH:]
    return _checksum(body) == checksum


def secret_digest(install_key: bytes, secret: str) -> str:
    """Keyed BLAKE2b of the whole secret, hex. Never a prefix of it: two keys must not share a cache entry."""
    return hashlib.blake2b(secret.encode(), key=install_key, digest_size=32).hexdigest()


def pseudonym(install_key: bytes, kind: str, name: str) -> str:
    """The stable id under which books and audit rows know a name (rule 12); `-` stays `-`."""
    if name == ABSENT:
        return ABSENT
    digest = hashlib.blake2b(f"{kind}:{name}".encode(), key=install_key, digest_size=10).hexdigest()
    return f"{kind}_{digest}"


class KeyState(StrEnum):
    ACTIVE = "active"
    DISABLED = "disabled"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class KeyLimit:
    """A limit that narrows one key only, e.g. 5 USD a day. Amount in the unit's integer (usd in micro-USD)."""

    unit: str
    amount: int
    window: str


@dataclass(frozen=True, slots=True)
class VirtualKey:
    """A credential that we issued. `models` and `tools` narrow (None = no narrowing); they never widen a policy.

    `digest` is `secret_digest` of the secret; the secret itself is shown once and never stored.
    """

    id: str
    name: str
    digest: str
    user: str = ABSENT
    team: str = ABSENT
    app: str = ABSENT
    service: str = ABSENT
    agent: str = ABSENT
    models: tuple[str, ...] | None = None
    tools: tuple[str, ...] | None = None
    limits: tuple[KeyLimit, ...] = ()
    expires_at_us: int | None = None
    state: KeyState = KeyState.ACTIVE
    may_assert_user: bool = False
    origin: str = "runtime"
    created_at_us: int = 0

    def subjects(self) -> frozenset[str]:
        """The typed subjects that a call with this key acts as, before roles."""
        named = (("user", self.user), ("team", self.team), ("app", self.app), ("service", self.service))
        own = [f"{kind}:{name}" for kind, name in (*named, ("agent", self.agent)) if name != ABSENT]
        return frozenset((*own, f"key:{self.name}"))


@dataclass(frozen=True, slots=True)
class Attributes:
    """What the operator declared about one principal: the only attributes that conditions and selectors see."""

    environment: str = ABSENT
    cost_center: str = ABSENT
    groups: tuple[str, ...] = ()
    leads: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=lambda: _EMPTY)


@dataclass(frozen=True, slots=True)
class Directory:
    """All declared principals, by kind ("user", "team", "app", "service", "agent") and name."""

    principals: Mapping[str, Mapping[str, Attributes]]

    def get(self, kind: str, name: str) -> Attributes:
        """The declared attributes; an undeclared principal has none."""
        return self.principals.get(kind, {}).get(name, NO_ATTRIBUTES)


NO_ATTRIBUTES = Attributes()


def narrowed(patterns: tuple[str, ...] | None, name: str) -> bool:
    """Whether a key's narrowing leaves `name` usable: an exact name or a pattern with a trailing `*`."""
    if patterns is None:
        return True
    return any(name == p or (p.endswith("*") and name.startswith(p[:-1])) for p in patterns)


def _checksum(body: str) -> str:
    high, last = divmod(zlib.crc32(body.encode()), 62 * 62)
    first, middle = divmod(high, 62 * 62)
    return _PAIRS[first] + _PAIRS[middle] + _PAIRS[last]


def _base62(number: int, length: int) -> str:
    """The last `length` digits, an even number of them."""
    pairs = []
    for _ in range(length // 2):
        number, index = divmod(number, 62 * 62)
        pairs.append(_PAIRS[index])
    return "".join(reversed(pairs))
