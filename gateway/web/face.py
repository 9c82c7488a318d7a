"""What the HTTP face works with; built by wiring. Handlers are functions of a `Face` and a `Request`."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gateway.pipeline.answer import Answer
from gateway.pipeline.identify import DigestOf
from gateway.pipeline.key_rate import KeyRate
from gateway.pipeline.plane import Plane
from gateway.web.control import Control
from gateway.web.exchange import Request


@dataclass(slots=True)
class Face:
    """`ready` tells whether calls are taken; `metrics` renders them; `admin_digest` gives the digest of the admin token
    (None = there is none), `loopback` whether the server listens on loopback only; `own_rate` is that of what keys ask
    about themselves, which is free."""

    plane: Plane
    digest_of: DigestOf
    body_bytes_max: int
    header_bytes_max: int
    ready: Callable[[], bool]
    metrics: Callable[[], bytes]
    admin_digest: Callable[[], str | None]
    loopback: bool
    incident: Callable[[BaseException], str]
    control: Control
    own_rate: KeyRate


Handler = Callable[[Face, Request], Awaitable[Answer]]
