"""Slowing a caller down: a short wait inside, and beyond that a 429 with a true retry-after (rule 28)."""

import asyncio

from gateway.core.denial import Denial, Refused
from gateway.pipeline.sessions import LiveSession, refuse_unless_open

DELAY_MAX_S = 5.0


async def throttle(live: LiveSession, wait_s: float, denial: Denial) -> None:
    """Waits `wait_s`, before anything is held. Raises Refused: with `denial`, which is transient, where that is longer
    than five seconds; or because the session was paused or stopped meanwhile."""
    if wait_s > DELAY_MAX_S:
        raise Refused(denial)
    await asyncio.sleep(wait_s)
    refuse_unless_open(live)
