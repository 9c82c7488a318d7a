"""One credential's tokens: kept until shortly before their end, renewed ahead, fetched once for all who wait.

Rules: a fetch belongs to no caller, so a caller that leaves ends nothing; while a token is usable nobody waits for its
renewal; after a failure the issuer rests, and who needs a token meanwhile hears that failure at once.
"""

import asyncio
from collections.abc import Awaitable, Callable

from gateway.core.bearer_token import RENEWED_AGAIN_US, Issued, Token, rest_us, token_of
from gateway.core.upstream import TokenUnavailable
from gateway.ports import Clock

FORCED_AGAIN_US = 60_000_000
"""Between two fetches that a provider's 401 asks for: where a new token is refused too, it is not the token."""
_SHOWN_MAX = 4

Fetch = Callable[[], Awaitable[Issued]]
"""Asks the issuer once. Raises TokenUnavailable."""


class TokenSource:
    """`fetch` is never called twice at the same time."""

    def __init__(self, fetch: Fetch, clock: Clock) -> None:
        self._fetch = fetch
        self._clock = clock
        self._token: Token | None = None
        self._fetching: asyncio.Task[Token | TokenUnavailable] | None = None
        self._failure: TokenUnavailable | None = None
        self._failures = 0
        self._rest_until_us = 0
        self._force_from_us = 0
        self._values: list[str] = []

    @property
    def values(self) -> tuple[str, ...]:
        """The latest tokens, which calls in flight may still be sent with."""
        return tuple(self._values)

    @property
    def resting(self) -> bool:
        """Whether the issuer failed and is left alone for now."""
        return self._failure is not None and self._now_us() < self._rest_until_us

    async def token(self) -> str:
        """A usable one. Raises TokenUnavailable."""
        now_us, token = self._now_us(), self._token
        if token is not None and now_us < token.usable_until_us:
            if now_us >= max(token.renew_from_us, self._rest_until_us) and self._fetching is None:
                _ = self._begin()
            return token.value
        if self._fetching is None and self._failure is not None and now_us < self._rest_until_us:
            raise self._failure.again()
        return (await self._fetched()).value

    async def instead_of(self, refused: str) -> str | None:
        """Another token than this one, which the provider refused. None: none is to be had now."""
        now_us, token = self._now_us(), self._token
        if token is not None and token.value != refused and now_us < token.usable_until_us:
            return token.value
        if self._fetching is None:
            if now_us < max(self._force_from_us, self._rest_until_us if self._failure is not None else 0):
                return None
            self._force_from_us = now_us + FORCED_AGAIN_US
        try:
            fresh = await self._fetched()
        except TokenUnavailable:
            return None
        return None if fresh.value == refused else fresh.value

    async def _fetched(self) -> Token:
        outcome = await asyncio.shield(self._fetching or self._begin())
        if isinstance(outcome, TokenUnavailable):
            raise outcome.again()
        return outcome

    def _begin(self) -> "asyncio.Task[Token | TokenUnavailable]":
        self._fetching = asyncio.create_task(self._renew())
        return self._fetching

    async def _renew(self) -> Token | TokenUnavailable:
        """A failure is a value here: of a renewal ahead nobody may be there to hear it."""
        asked_us = self._now_us()
        try:
            token = token_of(await self._fetch(), asked_us)
        except TokenUnavailable as error:
            self._failure = error
            self._failures += 1
            self._rest_until_us = self._now_us() + rest_us(self._failures, refused=error.refused)
            return error
        finally:
            self._fetching = None
        self._token, self._failure, self._failures = token, None, 0
        self._rest_until_us = asked_us + RENEWED_AGAIN_US
        if token.value not in self._values:
            self._values = [*self._values, token.value][-_SHOWN_MAX:]
        return token

    def _now_us(self) -> int:
        return self._clock.monotonic_ns() // 1000
