"""C7: does policy and charge hold on every route, and is anything passed on that no route serves?

Whatever is sent, three things must be true afterwards: the provider saw only calls that the books hold, of the models
that the key may use, on the paths that a route serves; each of them was charged; and every route of the table refuses
who has no key.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any

from benchmarks.correctness.report import Report, differing
from benchmarks.correctness.site import UPSTREAM_MODEL, Site, model
from benchmarks.correctness.tricks import ALLOWED, FORBIDDEN, MESSAGES, Trick, tricks
from gateway.web.admin_routes import ADMIN_ROUTES
from gateway.web.routes import ROUTES, Guard
from tests.support.clients import Answer, parsed, raw
from tests.support.fixtures import LogRow
from tests.support.gateway import GatewayProcess

LANES = (("hypercorn", True), ("hypercorn", False), ("uvicorn", True), ("uvicorn", False))
SECRET_MODEL = "mock-secret"
PATHS = frozenset({"/v1/chat/completions", "/v1/embeddings"})
AT_ONCE = 8
HARMLESS_MIN = 15
"""A gateway that refuses everything proves nothing."""
POLICY = f"""\
p, role:everyone, {ALLOWED}, *, model:invoke, , allow
p, user:other, {FORBIDDEN}, *, model:invoke, , allow

# rows: 2
"""
POLICY_TESTS = f"""\
- {{as: {{user: alice}}, model: {ALLOWED}, expect: allow, because: the benchmark calls it}}
- {{as: {{user: alice}}, model: {FORBIDDEN}, expect: deny, because: only the other user may}}
"""


async def run(site: Site) -> Report:
    lanes = LANES[:1] if site.small else LANES
    broken: list[str] = []
    seen: Counter[str] = Counter()
    for server, fast_path in lanes:
        gateway = site.gateway(
            server=server,
            fast_path=fast_path,
            keys=[{"name": name, "user": name} for name in ("alice", "other")],
            models={ALLOWED: model(), FORBIDDEN: model(model=SECRET_MODEL)},
            policy=POLICY,
            policy_tests=POLICY_TESTS,
        )
        lane = f"{server}{'' if fast_path else ', no fast path'}"
        broken += [f"{lane}: {fault}" for fault in await _judged(site, gateway, seen)]
    figure = (
        f"{seen['tricks']} requests over {len(lanes)} lanes: {seen['passed_on']} reached the provider, all of them "
        f"allowed and charged; none of {seen['unknown']} to unknown paths; {seen['routes']} routes ask for a key"
    )
    return Report(figure, tuple(broken), dict(seen))


async def _judged(site: Site, gateway: GatewayProcess, seen: Counter[str]) -> list[str]:
    broken: list[str] = []
    gate = asyncio.Semaphore(AT_ONCE)

    async def sent(number: int, trick: Trick) -> tuple[Trick, Answer | None]:
        async with gate:
            return trick, await asyncio.to_thread(_send, gateway, trick, f"trick-{number}")

    answers = await asyncio.gather(*(sent(number, trick) for number, trick in enumerate(tricks())))
    gateway.quiesce()
    log = site.upstream.log()
    rows = gateway.rows("SELECT * FROM calls WHERE state = 'settled'")
    broken += [fault for row in log for fault in _strays(row)]
    broken += differing("calls at the provider and calls charged", len(rows), len(log))
    broken += [f"call {row['call_id']} was free" for row in rows if row["usd_micros"] <= 0]
    broken += (
        [] if len(log) >= HARMLESS_MIN else [f"only {len(log)} harmless requests passed: what refused the others?"]
    )
    priced = [a for _, a in answers if a is not None and a.status == 200 and "x-comptroller-cost-usd" in a.headers]
    broken += differing("answers with a price and calls charged", len(priced), len(rows))
    broken += [f"{trick.what}: answered {a.status}" for trick, a in answers if a is not None and a.status >= 500]
    guarded = list(_unguarded(gateway))
    broken += [fault for fault in guarded if fault]
    seen.update(tricks=len(answers), passed_on=len(log), routes=len(guarded))
    seen.update(unknown=sum(trick.path.partition("?")[0] not in PATHS for trick, _ in answers))
    return broken


def _send(gateway: GatewayProcess, trick: Trick, session: str) -> Answer | None:
    """In a session of its own, or loop detection would refuse what is to be refused for another reason. None if the
    server hung up without a word, which is an answer too."""
    lines = [
        f"{trick.method} {trick.path} HTTP/1.1",
        f"host: 127.0.0.1:{gateway.port}",
        f"authorization: Bearer {gateway.keys['alice']}",
        "content-type: application/json",
        f"x-comptroller-session: {session}",
        f"content-length: {len(trick.body)}",
        "connection: close",
        *trick.headers,
        "",
        "",
    ]
    received = raw(gateway, "\r\n".join(lines).encode() + trick.body, until_close=True)
    return parsed(received) if received else None


def _strays(row: LogRow) -> Iterator[str]:
    """What is wrong with a request that the provider got."""
    if row.model != UPSTREAM_MODEL:
        yield f"the provider was asked for {row.model!r}"
    if row.target not in PATHS:
        yield f"the provider was asked on {row.target}"
    if row.method != "POST":
        yield f"the provider got a {row.method}"
    if any(FORBIDDEN in value for _, value in row.headers):
        yield "a header of the client was passed on"


def _unguarded(gateway: GatewayProcess) -> Iterator[str]:
    """For every route of the table that is not public: empty if it refuses a request without a key."""
    body: dict[str, Any] = {"model": ALLOWED, "messages": MESSAGES}
    for route in (*ROUTES, *ADMIN_ROUTES):
        if route.guard in (Guard.PUBLIC, Guard.ADMIN_OFF_LOOPBACK):
            continue
        path = _filled(route.path)
        head = f"{route.method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n"
        content = str(body).replace("'", '"').encode() if route.method == "POST" else b""
        data = head.encode() + b"content-length: %d\r\n\r\n" % len(content) + content
        status = parsed(raw(gateway, data, until_close=True)).status
        # What clients of Bedrock know a missing key by (CONTRACT.md section 5).
        refused = 403 if path.startswith("/bedrock/") else 401
        yield "" if status == refused else f"{route.method} {route.path} answers {status} without a key"


def _filled(path: str) -> str:
    """A path that the route takes: where it names an action, one that there is."""
    call = f"{ALLOWED}/converse" if path.startswith("/bedrock/") else f"{ALLOWED}:generateContent"
    call = f"models/{ALLOWED}:rawPredict" if path.startswith("/vertex/") else call
    filled = path.replace("<path:model>", ALLOWED).replace("<path:call>", call)
    return filled.replace("<", "").replace(">", "")
