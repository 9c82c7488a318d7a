"""Children for tests: opened as an agent opens them, called in with their token."""

from typing import Any

import httpx2

from gateway.core.hold import CounterView
from gateway.management import own
from gateway.management.quota import own_session
from tests.management.opening import ALICE, Opened


async def child_of(
    node: Opened, session: str | None = "run", *, key: str = "alice", token: str | None = None, **wish: Any
) -> dict[str, Any]:
    """Of the session that a client calls so, or of the child that the token leads into."""
    headers = {"x-comptroller-session": token or session or ""}
    return await own.open_own_child(node.plane, node.caller(key), headers, wish or {"tokens": 1_000})


async def call_in(node: Opened, child: dict[str, Any], secret: str = ALICE, **asked: Any) -> httpx2.Response:
    return await node.chat(secret, session=child["token"], **asked)


def code_of(reply: httpx2.Response) -> str:
    found: str = "ok" if reply.status_code == 200 else reply.json()["error"]["code"]
    return found


def counters(node: Opened) -> dict[tuple[str, str], CounterView]:
    return {(view.name, view.scope): view for view in node.plane.limiter.views(node.plane.clock.now_us())}


async def spent(node: Opened, name: str, session_id: str) -> tuple[int, int]:
    """(posted, held) of the counter of one session, loaded if it is not in memory."""
    live = await node.plane.sessions.by_id(session_id)
    assert live is not None
    key = node.plane.keys.get(live.session.key_id)
    assert key is not None
    await own_session(node.plane, node.caller(key.name), {}, session_id)
    attribution = next(iter(node.caller(key.name).attributions.values()))
    bindings = node.plane.limiter.bindings(attribution, live.id, live.lineage)
    now_us = node.plane.clock.now_us()
    await node.plane.limiter.load(bindings, live.id, now_us, fresh_session=False)
    view = next(
        v for v in node.plane.limiter.view(bindings, now_us) if (v.name, v.scope) == (name, f"session:{live.id}")
    )
    return view.spent, view.held
