"""Signed tokens that let a sub-agent into the child session that its parent opened for it (rule 16).

`cptr_ss_` + base64url of signature and claims. The key is derived from the install key, so no other secret of ours can
make one; the signature is checked before anything in a token is believed or looked up. Whoever holds a token also needs
the opener's key or a key of the agent that it names.
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
from dataclasses import dataclass

from gateway.core.identity import ABSENT
from gateway.core.session import CHILD_TOKEN_PREFIX

SIGNATURE_BYTES = 20
_DERIVED_FOR = b"comptroller child session token 1"
_BASE64 = re.compile(r"[A-Za-z0-9_-]+")


class TokenRefused(ValueError):
    """A token that opens nothing; the text says why, for a person."""


class TokenExpired(TokenRefused):
    """A true token whose time is over."""


@dataclass(frozen=True, slots=True)
class ChildClaims:
    """What a token says. `key_id` = the key that opened the child; `agent` = whose keys may use it too, `-` = nobody's;
    it opens nothing from `expires_at_us` on."""

    session_id: str
    key_id: str
    agent: str
    expires_at_us: int


def signing_key(install_key: bytes) -> bytes:
    """What child tokens of this installation are signed with."""
    return hashlib.blake2b(_DERIVED_FOR, key=install_key, digest_size=32).digest()


def make_token(key: bytes, claims: ChildClaims) -> str:
    """`key` from `signing_key`."""
    content = [claims.session_id, claims.key_id, claims.agent, claims.expires_at_us]
    said = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    return CHILD_TOKEN_PREFIX + base64.urlsafe_b64encode(_signature(key, said) + said).decode().rstrip("=")


def read_token(key: bytes, token: str, *, key_id: str, agent: str, now_us: int) -> ChildClaims:
    """What a token says to the key and agent that sent it. Raises TokenRefused and TokenExpired."""
    body = token.removeprefix(CHILD_TOKEN_PREFIX)
    if body == token or not _BASE64.fullmatch(body):
        raise TokenRefused("this child-session token is damaged")
    try:
        content = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise TokenRefused("this child-session token is damaged") from None
    signature, said = content[:SIGNATURE_BYTES], content[SIGNATURE_BYTES:]
    if not hmac.compare_digest(signature, _signature(key, said)):
        raise TokenRefused("this child-session token was not made here or was changed")
    claims = ChildClaims(*json.loads(said))
    # One content has one spelling: the last character of base64 has bits that decoding does not look at.
    if make_token(key, claims) != token:
        raise TokenRefused("this child-session token is damaged")
    named = agent != ABSENT and agent == claims.agent
    if key_id != claims.key_id and not named:
        raise TokenRefused("this child-session token is for another key or agent")
    if now_us >= claims.expires_at_us:
        raise TokenExpired("this child-session token has expired")
    return claims


def _signature(key: bytes, said: bytes) -> bytes:
    return hashlib.blake2b(said, key=key, digest_size=SIGNATURE_BYTES).digest()
