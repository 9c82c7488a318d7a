"""The control plane's handles on a node."""

import asyncio
import secrets
from importlib.metadata import version
from typing import Any

from gateway.core.denial import time_shown
from gateway.management.alerts import AlertOffice
from gateway.management.capacity import capacity_object
from gateway.management.keys import KeyDesk
from gateway.management.policies import Question, question_context
from gateway.web.control import Control
from gateway.wiring.catalog import key_limits
from gateway.wiring.housekeeping import Housekeeper
from gateway.wiring.node import Node
from gateway.wiring.policy_files import policy_findings, policy_tests


def control_of(node: Node, keeper: Housekeeper) -> Control:
    desk = KeyDesk(node.plane, node.digest_of, secrets.randbits, node.take_up_key)
    started_us = node.plane.clock.now_us()

    async def policy_check() -> list[dict[str, Any]]:
        return await asyncio.to_thread(policy_findings, node.loaded)

    async def policy_test() -> list[dict[str, Any]]:
        return await asyncio.to_thread(policy_tests, node.loaded)

    async def policy_explain(question: Question) -> dict[str, Any]:
        subjects = frozenset(question.subjects)
        context = question_context(node.plane, question)
        ask = (subjects, question.model, question.tool, question.action, context)
        explained = await asyncio.to_thread(node.policy.explain, *ask)
        decision = explained.decision
        return {
            "allowed": decision.allowed,
            "reason": decision.reason,
            "rule": decision.rule,
            "policy_version": decision.policy_version,
            "lines": list(explained.lines()),
        }

    def status() -> dict[str, Any]:
        plane = node.plane
        return {
            "version": version("comptroller"),
            "ready": node.ready(),
            "started_at": time_shown(started_us),
            "policy_version": plane.policy.version,
            "revision": plane.catalog.revision,
            "config": node.loaded.file or None,
            "models": list(plane.catalog.models),
            "keys": len(plane.keys.all()),
            "sessions_live": plane.sessions.counts()["sessions"],
            "calls_in_flight": plane.sessions.in_flight,
            "ledger_behind": node.books.behind,
            "capacity": [capacity_object(each) for each in plane.capacity.figures()],
            "deployments": [figures._asdict() for figures in plane.health.figures()],
            "providers": [figures._asdict() for figures in plane.health.provider_figures(plane.providers)],
        }

    return Control(
        keys=desk,
        reports=node.books.reports,
        requests=node.requests,
        alerts=AlertOffice(node.plane, node.alerting.desk, node.books.outbox, node.books.reports, node.alerting.sender),
        key_limits=lambda: key_limits(node.plane.keys.all()),
        reload=keeper.reload,
        policy_check=policy_check,
        policy_test=policy_test,
        policy_explain=policy_explain,
        status=status,
    )
