"""Google Cloud: the two ways in which a program shows who it is, each a way to ask for a token.

Formats: OAuth 2.0 for service accounts (RFC 7523: a signed assertion) and the metadata server, as documented in
2026-11.
"""

from typing import Any, NamedTuple

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from gateway.core.bearer_token import Issued
from gateway.ports import Clock
from gateway.upstream.token_endpoint import TokenEndpoint
from gateway.upstream.token_source import Fetch

ASSERTION_S = 3600
GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
FLAVOR = (("metadata-flavor", "Google"),)


class ServiceAccount(NamedTuple):
    """`address` is its e-mail address, `token_url` where its tokens come from."""

    address: str
    key_id: str
    token_url: str
    scope: str


def by_service_account(account: ServiceAccount, key: RSAPrivateKey, endpoint: TokenEndpoint, clock: Clock) -> Fetch:
    async def fetch() -> Issued:
        now_s = clock.now_us() // 1_000_000
        claims: dict[str, Any] = {
            "iss": account.address,
            "scope": account.scope,
            "aud": account.token_url,
            "iat": now_s,
            "exp": now_s + ASSERTION_S,
        }
        headers = {"kid": account.key_id} if account.key_id else None
        assertion = jwt.encode(claims, key, algorithm="RS256", headers=headers)
        return await endpoint.post({"grant_type": GRANT_TYPE, "assertion": assertion})

    return fetch


def by_metadata(scope: str, endpoint: TokenEndpoint) -> Fetch:
    """The account of the machine, or of the pod where the platform binds one to it."""

    async def fetch() -> Issued:
        return await endpoint.get({"scopes": scope}, FLAVOR)

    return fetch
