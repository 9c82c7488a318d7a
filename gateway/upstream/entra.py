"""Microsoft Entra ID: the four ways in which a program shows who it is, each a way to ask for a token.

Formats: OAuth 2.0 client credentials on the Microsoft identity platform (secret; certificate as a signed assertion;
federated token), and the token endpoint of managed identities, as documented in 2026-11.
"""

import asyncio
import secrets
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import jwt
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from jwt.utils import base64url_encode

from gateway.core.bearer_token import Issued
from gateway.core.upstream import TokenUnavailable
from gateway.ports import Clock
from gateway.upstream.private_key import private_key_of
from gateway.upstream.token_endpoint import TokenEndpoint
from gateway.upstream.token_source import Fetch

ASSERTION_S = 300
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_IMDS_VERSION = "2018-02-01"
_TOKEN_FILE_BYTES_MAX = 64 * 1024


class Application(NamedTuple):
    """An app registration: where its tokens come from, its id, and what they are for."""

    token_url: str
    client_id: str
    scope: str

    def form(self, shown: Mapping[str, str]) -> dict[str, str]:
        return {"grant_type": "client_credentials", "client_id": self.client_id, "scope": self.scope, **shown}


class Certificate(NamedTuple):
    """A certificate with its key. `thumbprint` is the SHA-256 of its DER form, base64url."""

    key: RSAPrivateKey
    thumbprint: str
    ends_at: datetime


def certificate_of(pem: str) -> Certificate:
    """Of PEM text that holds both, in any order. Raises ValueError saying what is wrong, without a value."""
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("holds no certificate in PEM") from None
    key = private_key_of(_key_of(pem))
    if key.public_key() != certificate.public_key():
        raise ValueError("its private key is not that of its certificate")
    thumbprint = base64url_encode(certificate.fingerprint(hashes.SHA256())).decode()
    return Certificate(key, thumbprint, certificate.not_valid_after_utc)


def _key_of(pem: str) -> str:
    """The private key's block: a loader of keys looks at the first block only."""
    blocks = pem.split("-----BEGIN ")
    return next((f"-----BEGIN {block}" for block in blocks if "PRIVATE KEY-----" in block.partition("\n")[0]), "")


def by_secret(app: Application, secret: str, endpoint: TokenEndpoint) -> Fetch:
    async def fetch() -> Issued:
        return await endpoint.post(app.form({"client_secret": secret}))

    return fetch


def by_certificate(app: Application, certificate: Certificate, endpoint: TokenEndpoint, clock: Clock) -> Fetch:
    async def fetch() -> Issued:
        now_s = clock.now_us() // 1_000_000
        claims: dict[str, Any] = {
            "aud": app.token_url,
            "iss": app.client_id,
            "sub": app.client_id,
            "jti": secrets.token_hex(16),
            "nbf": now_s,
            "iat": now_s,
            "exp": now_s + ASSERTION_S,
        }
        headers = {"x5t#S256": certificate.thumbprint}
        assertion = jwt.encode(claims, certificate.key, algorithm="PS256", headers=headers)
        return await endpoint.post(app.form(_asserted(assertion)))

    return fetch


def by_federation(name: str, app: Application, token_file: Path, endpoint: TokenEndpoint) -> Fetch:
    """The file is read each time: whoever wrote it writes a new token into it before the old one ends."""

    async def fetch() -> Issued:
        try:
            assertion = await asyncio.to_thread(_read, token_file)
        except (OSError, UnicodeDecodeError):
            assertion = ""
        if not assertion:
            text = f"Provider '{name}' gets no token: its `token_file` cannot be read. An administrator must check it."
            raise TokenUnavailable(text, refused=True)
        return await endpoint.post(app.form(_asserted(assertion)))

    return fetch


def by_managed_identity(client_id: str | None, scope: str, endpoint: TokenEndpoint) -> Fetch:
    """`client_id` None = the machine's own identity. It is asked for a resource: a scope without its end."""
    query = {"api-version": _IMDS_VERSION, "resource": scope.removesuffix("/.default")}
    asked = query if client_id is None else {**query, "client_id": client_id}

    async def fetch() -> Issued:
        return await endpoint.get(asked, (("metadata", "true"),))

    return fetch


def _asserted(assertion: str) -> dict[str, str]:
    return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}


def _read(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_TOKEN_FILE_BYTES_MAX).decode().strip()
