"""Asks an identity service for a token: OAuth 2.0's token endpoint (RFC 6749 section 5) and the metadata servers of
clouds, which answer in the same shape.

Rule: of an error only its code goes on, for descriptions may repeat what was sent; the wait is bounded, since calls
wait for it.
"""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import orjson

from gateway.core.bearer_token import Issued
from gateway.core.upstream import Timeouts, TokenUnavailable, UpstreamError, UpstreamRequest
from gateway.ports import Clock, Upstream

_TIMEOUTS = Timeouts(connect_s=5.0, first_byte_s=15.0, idle_s=5.0, total_s=20.0)
_REPLY_BYTES_MAX = 256 * 1024
_REFUSALS = frozenset({400, 401, 403, 404})
_FORM: Final = (("content-type", "application/x-www-form-urlencoded"), ("accept", "application/json"))
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")
_AZURE_CODE = re.compile(r"AADSTS\d{4,9}")
_TOKEN = re.compile(r"[!-~]{1,16384}")


class TokenEndpoint:
    """`name` is the provider that the tokens are for; `url` may carry a query."""

    def __init__(self, name: str, url: str, upstream: Upstream, clock: Clock) -> None:
        self._name = name
        self._url = url
        self._upstream = upstream
        self._clock = clock

    async def post(self, form: Mapping[str, str]) -> Issued:
        """Raises TokenUnavailable."""
        return await self._ask("POST", self._url, _FORM, urlencode(form).encode())

    async def get(self, query: Mapping[str, str], headers: tuple[tuple[str, str], ...]) -> Issued:
        """Raises TokenUnavailable."""
        url = f"{self._url}?{urlencode(query)}" if query else self._url
        return await self._ask("GET", url, headers, b"")

    async def _ask(self, method: str, url: str, headers: tuple[tuple[str, str], ...], body: bytes) -> Issued:
        sent = (*headers, ("user-agent", "comptroller"))
        request = UpstreamRequest(method, url, sent, body, _TIMEOUTS, _REPLY_BYTES_MAX)
        try:
            reply = await self._upstream.send(request)
            try:
                content = await reply.read()
            finally:
                await reply.close()
        except UpstreamError:
            raise self._failed("could not be reached in time") from None
        said = _object(content)
        if reply.status in _REFUSALS:
            raise self._refused(_code(said, content) or f"status {reply.status}")
        if reply.status != 200:
            raise self._failed(f"answered with status {reply.status}")
        return self._issued(said)

    def _issued(self, said: Mapping[str, Any]) -> Issued:
        value, lifetime_s = said.get("access_token"), _seconds(said.get("expires_in"))
        if lifetime_s is None and (at_s := _seconds(said.get("expires_on"))) is not None:
            lifetime_s = at_s - self._clock.now_us() / 1e6
        if not isinstance(value, str) or not _TOKEN.fullmatch(value) or lifetime_s is None or lifetime_s <= 0:
            raise self._failed("answered without a usable token")
        return Issued(value, lifetime_s)

    def _failed(self, what: str) -> TokenUnavailable:
        text = f"Provider '{self._name}' gets no token: its identity service ({self._host}) {what}."
        return TokenUnavailable(text, refused=False)

    def _refused(self, why: str) -> TokenUnavailable:
        text = (
            f"Provider '{self._name}' gets no token: its identity service ({self._host}) refuses this gateway's "
            f"credential ({why}). An administrator must check it."
        )
        return TokenUnavailable(text, refused=True)

    @property
    def _host(self) -> str:
        return urlsplit(self._url).hostname or ""


def _object(content: bytes) -> Mapping[str, Any]:
    try:
        said = orjson.loads(content)
    except orjson.JSONDecodeError:
        return {}
    return said if isinstance(said, dict) else {}


def _seconds(value: object) -> float | None:
    """Some services write numbers as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except ValueError:
        return None
    return found if found < 1e12 else None


def _code(said: Mapping[str, Any], content: bytes) -> str:
    error = said.get("error")
    named = [error] if isinstance(error, str) and _CODE.fullmatch(error) else []
    named += [found.group() for found in [_AZURE_CODE.search(content.decode("utf-8", "replace"))] if found]
    return ", ".join(named)
