"""What a node does beside serving: reload what changed on disk, let go of what is idle, write what gathered.

A reload takes configuration and policy together, checks both, and swaps them in one step; whatever is wrong with either
leaves both as they were, with a line that says where.
"""

import asyncio
from pathlib import Path

from gateway.core.alerts_of import ledger_alert, reload_alert
from gateway.core.denial import Code
from gateway.core.outbox import RaisedAlert
from gateway.core.tool_name import SEPARATOR, ToolNames
from gateway.management.spend_watch import SpendWatch
from gateway.pipeline.standing import end_what_may_not_go_on, inactive
from gateway.policy.findings import PolicyInvalid
from gateway.policy.source import fingerprint as policy_fingerprint
from gateway.settings import Loaded, SettingsError, Watch
from gateway.settings import load as load_settings
from gateway.wiring.alerting import channels_of
from gateway.wiring.catalog import OWN_NAME
from gateway.wiring.node import Node, load_policy_engine, policy_source, swap
from gateway.wiring.providers import refuse_missing_parts
from gateway.wiring.system import SystemClock
from mcp_server.own_tools import NAMES as OWN_TOOL_NAMES

TICK_S = 0.25
WATCH_EVERY = 2
SWEEP_EVERY = 40
SPEND_EVERY = 1_200
TIDY_EVERY = 14_400
ALERT_ROWS_MAX = 20_000
COUNTER_IDLE_US = 3_600_000_000


class Housekeeper:
    """Runs until cancelled. `environment` is what `${...}` in the configuration is read from."""

    def __init__(self, node: Node, environment: dict[str, str]) -> None:
        self._node = node
        self._environment = environment
        self._config = Watch(node.loaded.sources)
        self._policy_seen = policy_fingerprint(policy_source(node.loaded))
        self._reloading = asyncio.Lock()
        self._tools: frozenset[str] = frozenset()
        self._spend = SpendWatch(node.plane.alerts, node.books.reports)
        self._behind = False
        self._unwritten = 0

    async def run(self) -> None:
        tick = 0
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + TICK_S
            await asyncio.sleep(TICK_S)
            self._node.metrics.loop_lag.set(max(0.0, loop.time() - due))
            tick += 1
            self._node.lines.flush()
            try:
                if tick % WATCH_EVERY == 0:
                    await self._watch()
                    await self._take_up_tools()
                    self._end_streams_of_inactive_keys()
                    await self._node.requests.sweep()
                if tick % SWEEP_EVERY == 0:
                    self._sweep()
                    self._ledger()
                if tick % SPEND_EVERY == 0:
                    await self._spend.look(self._node.loaded.settings.alerts.anomaly.rules(), self._now_us())
                if tick % TIDY_EVERY == 1:
                    await self._tidy()
            except Exception as error:  # noqa: BLE001 - housekeeping goes on whatever one turn of it met
                self._node.incident(error)

    async def reload(self) -> tuple[str, ...]:
        """Empty if what is on disk is now in force; otherwise each fault, and nothing changed."""
        async with self._reloading:
            node = self._node
            try:
                loaded = await self._load()
                policy = await load_policy_engine(loaded, SystemClock())
                refuse_missing_parts(loaded)
                channels = channels_of(loaded, node.plane.clock)
            except SettingsError as error:
                return self._refused([str(finding) for finding in error.findings])
            except PolicyInvalid as error:
                return self._refused([str(finding) for finding in error.findings])
            except Exception as error:  # noqa: BLE001 - whatever else is wrong with new files, the old ones stay
                return self._refused([f"{type(error).__name__} while reloading ({node.incident(error)})"])
            await swap(node, loaded, policy, channels)
            self._config = Watch(loaded.sources)
            node.metrics.reload_ok.set(1)
            node.log.info("reloaded", policy=policy.version, revision=node.plane.catalog.revision)
            return ()

    async def _load(self) -> Loaded:
        loaded = self._node.loaded
        if not loaded.file:
            return loaded
        return await asyncio.to_thread(load_settings, Path(loaded.file), self._environment)

    def _refused(self, findings: list[str]) -> tuple[str, ...]:
        node = self._node
        node.metrics.reload_ok.set(0)
        node.log.error("reload refused", findings=findings[:20], kept=node.policy.version)
        node.plane.alerts.post(reload_alert(findings, node.policy.version, node.plane.clock.now_us()))
        return tuple(findings)

    async def _watch(self) -> None:
        seen = policy_fingerprint(policy_source(self._node.loaded))
        changed = self._config.changed()
        if changed or seen != self._policy_seen:
            self._policy_seen = seen
            await self.reload()

    async def _take_up_tools(self) -> None:
        """The names of all proxied tools, so that what agents re-export is judged by its own name (rule 19)."""
        running = self._node.front.running
        if running is None:
            return
        table = await running.servers.table()
        known = frozenset(entry.canonical for entry in table.entries(None))
        # What a server that is down offered keeps its meaning until it is back.
        known |= {name for name in self._tools if name.partition(SEPARATOR)[0] in table.missing}
        if known != self._tools:
            self._tools = known
            self._node.plane.offer_tools(ToolNames(known | OWN_TOOL_NAMES, (OWN_NAME,)))

    def _end_streams_of_inactive_keys(self) -> None:
        """A stream outlives the check of its key: whatever ended the key since, the clock or the file, ends it."""
        plane, front = self._node.plane, self._node.front
        now_us = plane.clock.now_us()
        ended = end_what_may_not_go_on(plane)
        for key_id in () if ended else front.streams.open_keys():
            key = plane.keys.get(key_id)
            if key is None or inactive(key, now_us) is not None:
                front.close_streams(key_id)

    def _now_us(self) -> int:
        return self._node.plane.clock.now_us()

    def _ledger(self) -> None:
        """Trouble with the books is told past them, its end through them."""
        node = self._node
        refused = node.metrics.calls.denied(Code.LEDGER_UNAVAILABLE)
        behind = node.books.behind or refused > self._unwritten
        self._unwritten = refused
        if behind == self._behind:
            return
        self._behind = behind
        alert = ledger_alert(self._now_us(), behind=behind)
        if behind:
            raised = RaisedAlert(node.plane.ids.new("alert"), alert, 1, alert.at_us)
            _ = node.plane.background.spawn(node.alerting.sender.tell_at_once(raised))
        else:
            node.plane.alerts.post(alert)

    async def _tidy(self) -> None:
        alerting, kept_s = self._node.alerting, self._node.loaded.settings.alerts.kept_for_s
        before_us = self._now_us() - int(kept_s * 1_000_000)
        await self._node.books.outbox.tidy(alerting.sender.channels, before_us, ALERT_ROWS_MAX)
        await self._node.books.made_calls.forget(self._now_us() - self._node.plane.replays.rules.kept_for_us)

    def _sweep(self) -> None:
        node, plane = self._node, self._node.plane
        now_us = plane.clock.now_us()
        plane.sessions.sweep(plane.catalog.sessions, now_us)
        node.limiter.sweep(now_us, COUNTER_IDLE_US)
        plane.refusals.flush(now_us)
        plane.replays.sweep(now_us)
        plane.responses.sweep(now_us - plane.catalog.cache_kept_us_max)
        node.alerting.desk.flush(now_us)
        node.metrics.sessions.set(plane.sessions.counts()["sessions"])
        node.metrics.counters.set(len(node.limiter.views(now_us)))
        node.metrics.behind.set(1 if node.books.behind else 0)
