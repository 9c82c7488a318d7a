"""One node: everything that runs in one process, built by hand, reloaded whole or not at all, closed in order."""

import asyncio
import ctypes
import gc
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO
from zoneinfo import ZoneInfo

import structlog

from gateway.alerting.sender import Channel
from gateway.core.call import Caller
from gateway.core.catalog import Catalog
from gateway.core.child_token import signing_key
from gateway.core.identity import KeyState, VirtualKey, secret_digest
from gateway.core.pace import Pace
from gateway.core.tool_name import ToolNames
from gateway.limiter.memory import MemoryLimiter
from gateway.management.requests import RequestDesk
from gateway.pipeline.authorize import principal_attributes
from gateway.pipeline.background import Background
from gateway.pipeline.capacity import Capacity
from gateway.pipeline.health import Health
from gateway.pipeline.keys import KeyRing
from gateway.pipeline.plane import Plane
from gateway.pipeline.refusals import RefusalMeter
from gateway.pipeline.replays import Replays
from gateway.pipeline.sessions import SessionRegistry
from gateway.pipeline.standing import end_what_may_not_go_on
from gateway.policy.engine import PolicyEngine
from gateway.policy.source import PolicySource
from gateway.ports import Upstream
from gateway.settings import Loaded
from gateway.settings.root import Settings
from gateway.storage.books import SqliteBooks
from gateway.telemetry.capacity import CapacityMetrics
from gateway.telemetry.health import HealthMetrics
from gateway.telemetry.log import BufferedLines, configure
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.observer import Observer
from gateway.tokenizer.counter import TokenCounter
from gateway.tokenizer.encodings import O200K
from gateway.tokenizer.encodings import load as load_encoding
from gateway.wiring.alerting import Alerting, channels_of
from gateway.wiring.capacity import capacity_rules
from gateway.wiring.catalog import OWN_NAME, catalog_of, declared_keys, health_rules, key_limits, replay_rules
from gateway.wiring.governance import PlaneGovernance
from gateway.wiring.mcp import front_of
from gateway.wiring.prices import DeploymentPrices
from gateway.wiring.providers import providers_of, refuse_missing_parts
from gateway.wiring.system import RandomIds, SystemClock
from mcp_server.front import McpFront
from mcp_server.own_tools import NAMES as OWN_TOOL_NAMES

PACKAGE = Path(__file__).parent.parent
GC_THRESHOLDS = (20_000, 20, 50)
MCP_DRAIN_S = 10.0
DRAIN_POLL_S = 0.05
ANSWER_S = 0.2
"""How long the calls of a key that ended have to tell their clients why."""
HOUR_US = 3_600_000_000
ADMIN_DIGEST = "admin_token_digest"


@dataclass(slots=True)
class Node:
    """A running node. `loaded` is the configuration in force."""

    loaded: Loaded
    plane: Plane
    books: SqliteBooks
    limiter: MemoryLimiter
    requests: RequestDesk
    alerting: Alerting
    policy: PolicyEngine
    metrics: Metrics
    lines: BufferedLines
    front: McpFront
    upstreams: list[Upstream]
    install_key: bytes
    admin_digest: str | None
    draining: bool = False
    retired: list[Upstream | Channel] = field(default_factory=list)
    log: Any = field(default_factory=structlog.get_logger)

    def digest_of(self, secret: str) -> str:
        return secret_digest(self.install_key, secret)

    def ready(self) -> bool:
        return not self.draining and not self.books.behind

    def incident(self, error: BaseException) -> str:
        """Logs what must not happen, without values, under an id that the caller is told."""
        incident = self.plane.ids.new("incident")
        frames = traceback.extract_tb(error.__traceback__)
        where = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames[-6:]]
        self.log.error("incident", incident=incident, error=type(error).__name__, where=where)
        return incident

    def apply_limits(self) -> None:
        """The limits of the configuration and of all keys, as they are now; key or policy may have changed, too."""
        self.plane.refusals.judge_anew()
        keys = self.plane.keys.all()
        self.limiter.configure(self.plane.catalog.limits, key_limits(keys), self.plane.clock.now_us())

    def take_up_key(self, key: VirtualKey) -> None:
        """A key was saved: in force from the next call on; what a key that is no longer active has open is ended."""
        self.plane.keys.put(key)
        self.apply_limits()
        if key.state is not KeyState.ACTIVE:
            end_what_may_not_go_on(self.plane)
            asyncio.get_running_loop().call_later(ANSWER_S, self.front.close_streams, key.id)

    async def drain(self, timeout_s: float) -> int:
        """Readiness is 503 from here; waits for what is under way. Returns how many did not end in time."""
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_s
        self.stop_admitting()
        await self.front.drain(min(timeout_s, MCP_DRAIN_S))
        while self.plane.sessions.in_flight and loop.time() < until:  # noqa: ASYNC110 - a count, at the end of a life
            await asyncio.sleep(DRAIN_POLL_S)
        return self.plane.sessions.in_flight + await self.plane.background.drain(max(0.0, until - loop.time()))

    def stop_admitting(self) -> None:
        """Readiness says 503 and new calls are refused; what runs goes on."""
        self.draining = self.plane.draining = True

    def retire(self, unused: Sequence[Upstream | Channel], after_s: float) -> None:
        """Calls that were sent by old clients may still be running: they are closed when none can be any more. No drain
        waits for that."""
        self.retired += unused
        asyncio.get_running_loop().call_later(after_s, self._close_retired, unused)

    def _close_retired(self, over: Sequence[Upstream | Channel]) -> None:
        self.retired = [each for each in self.retired if each not in over]
        for upstream in over:
            _ = self.plane.background.spawn(upstream.close())

    async def close(self) -> None:
        self.stop_admitting()
        await self.front.stop()
        for upstream in (*self.upstreams, *self.retired):
            await upstream.close()
        await self.plane.background.drain(5.0)
        self.plane.refusals.flush(self.plane.clock.now_us() + 60_000_000)
        self.alerting.desk.flush(self.plane.clock.now_us())
        await self.alerting.sender.close()
        await self.books.close()
        self.lines.flush()


async def open_node(loaded: Loaded, *, log_to: BinaryIO | None = None) -> Node:
    """Builds a node and takes up its books. Raises SettingsError, PolicyInvalid, or what the store refuses with."""
    settings = loaded.settings
    clock = SystemClock()
    lines = configure(settings.telemetry.log_format, log_to)
    started_us = clock.now_us()
    policy = await load_policy_engine(loaded, clock)
    books = await SqliteBooks.open(loaded.resolve(settings.storage.sqlite_path), node="local", now_us=started_us)
    try:
        node = await _node_on(books, loaded, policy, lines, clock, started_us)
        await _take_up(node, started_us)
    except BaseException:
        # The store's thread would keep a process alive that failed to start.
        await books.close()
        raise
    settle_memory()
    return node


async def _node_on(
    books: SqliteBooks, loaded: Loaded, policy: PolicyEngine, lines: BufferedLines, clock: SystemClock, started_us: int
) -> Node:
    settings = loaded.settings
    refuse_missing_parts(loaded)
    ids, metrics = RandomIds(), Metrics()
    alerting = Alerting(books, clock, ids, metrics)
    alerting.configure(settings.alerts, channels_of(loaded, clock))
    limiter = MemoryLimiter(books, books.recorded_terms, started_us)
    upstreams: list[Upstream] = []
    plane = Plane(
        catalog=catalog_of(settings, 1),
        books=books,
        limiter=limiter,
        policy=policy,
        prices=DeploymentPrices(settings),
        tokens=TokenCounter(partial(load_encoding, O200K)),
        providers=providers_of(loaded, upstreams),
        keys=KeyRing(lambda key: caller_of(plane, key)),
        sessions=SessionRegistry(books, ids),
        refusals=RefusalMeter(books.post),
        capacity=Capacity(clock),
        health=Health(clock, health_rules(settings)),
        telemetry=Observer(lines, metrics),
        alerts=alerting.desk,
        clock=clock,
        ids=ids,
        pace=Pace(),
        background=Background(),
        replays=Replays(replay_rules(settings)),
        made_calls=books.made_calls,
        tool_names=ToolNames(OWN_TOOL_NAMES, (OWN_NAME,)),
        own_tools=OWN_TOOL_NAMES,
        digest_key=books.install_key[:16],
        child_key=signing_key(books.install_key),
        policy_zone=ZoneInfo(settings.policy.timezone),
        portal_url=settings.server.public_url or "",
    )
    plane.capacity.configure(capacity_rules(settings))
    metrics.registry.register(CapacityMetrics(plane.capacity.figures))
    metrics.registry.register(
        HealthMetrics(plane.health.figures, lambda: plane.health.provider_figures(plane.providers))
    )
    requests = RequestDesk(plane, books.reports, lambda: key_limits(plane.keys.all()))
    governance = PlaneGovernance(plane, books.reports, requests, partial(secret_digest, books.install_key))
    return Node(
        loaded=loaded,
        plane=plane,
        books=books,
        limiter=limiter,
        requests=requests,
        alerting=alerting,
        policy=policy,
        metrics=metrics,
        lines=lines,
        front=front_of(loaded, governance),
        upstreams=upstreams,
        install_key=books.install_key,
        admin_digest=await _admin_digest(settings, books),
    )


def settle_memory() -> None:
    """What was built to stay leaves the collector's rounds, which would walk a large policy again and again: a tenth of
    a call's CPU with 10,000 rules. What building left over goes back to the system: 14 MB."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


async def load_policy_engine(loaded: Loaded, clock: SystemClock) -> PolicyEngine:
    """Raises PolicyInvalid."""
    return await PolicyEngine.load(policy_source(loaded), engine=loaded.settings.policy.engine, now_us=clock.now_us)


def policy_source(loaded: Loaded) -> PolicySource:
    """Where the policy stands; a start without a file has the packaged one, which allows its one local user."""
    if not loaded.file:
        return PolicySource(PACKAGE, "defaults/model.conf", ("wiring/local_policy/",))
    policy = loaded.settings.policy
    return PolicySource(loaded.directory, policy.model, tuple(policy.files))


def caller_of(plane: Plane, key: VirtualKey) -> Caller:
    """What is worked out about a key once: its subjects with all their roles, and its attributes for conditions."""
    subjects = key.subjects()
    closure = plane.policy.roles_of(subjects)
    roles = tuple(sorted(subject.removeprefix("role:") for subject in closure if subject.startswith("role:")))
    return Caller(key, subjects, roles, principal_attributes(plane, key))


async def _admin_digest(settings: Settings, books: SqliteBooks) -> str | None:
    token = settings.admin.token
    if token is not None:
        return secret_digest(books.install_key, token.reveal())
    return await books.recall(ADMIN_DIGEST)


async def _take_up(node: Node, now_us: int) -> None:
    """Keys, stops and counters as the books have them."""
    plane = node.plane
    for key in await node.books.keys():
        plane.keys.put(key)
    plane.stops.update({stop.scope: stop for stop in await node.books.stops()})
    declare_keys(node, node.loaded.settings)
    node.apply_limits()
    node.limiter.take_up_sessions(await node.books.sessions_opened(now_us - HOUR_US), now_us)
    await node.requests.take_up()


def declare_keys(node: Node, settings: Settings) -> None:
    plane = node.plane
    plane.keys.declare(declared_keys(settings, node.digest_of, plane.clock.now_us()))


@dataclass(frozen=True, slots=True)
class Reloaded:
    """`findings` is empty if the new configuration and policy are in force; otherwise nothing changed."""

    findings: tuple[str, ...]


async def swap(node: Node, loaded: Loaded, policy: PolicyEngine, channels: list[Channel]) -> None:
    """Puts a checked configuration and policy in force. No suspension point lies between its parts."""
    settings, plane = loaded.settings, node.plane
    upstreams: list[Upstream] = []
    providers = providers_of(loaded, upstreams)
    old, node.upstreams = node.upstreams, upstreams
    catalog: Catalog = catalog_of(settings, plane.catalog.revision + 1)
    plane.catalog, plane.prices, plane.providers = catalog, DeploymentPrices(settings), providers
    plane.policy = node.policy = policy
    plane.policy_zone = ZoneInfo(settings.policy.timezone)
    plane.capacity.configure(capacity_rules(settings))
    plane.health.configure(health_rules(settings), catalog.models.values())
    plane.replays.rules = replay_rules(settings)
    plane.responses.clear()
    node.loaded = loaded
    if settings.admin.token is not None:
        node.admin_digest = node.digest_of(settings.admin.token.reveal())
    declare_keys(node, settings)
    plane.keys.forget_callers()
    node.apply_limits()
    node.front.tools_changed()
    unused: list[Upstream | Channel] = [*old, *node.alerting.configure(settings.alerts, channels)]
    settle_memory()
    node.retire(unused, settings.timeouts.total_s)
