"""The control plane's handles on a node."""

import asyncio
import secrets
from datetime import UTC, datetime
from typing import Any

from gateway.core.condition_context import PolicyContext
from gateway.management.keys import KeyDesk
from gateway.policy.engine import check, compile_policy, run_tests
from gateway.policy.findings import Finding, PolicyInvalid
from gateway.web.control import Control, Question
from gateway.wiring.housekeeping import Housekeeper
from gateway.wiring.node import Node, policy_source


def control_of(node: Node, keeper: Housekeeper) -> Control:
    desk = KeyDesk(node.plane, node.digest_of, secrets.randbits, node.take_up_key)

    async def policy_check() -> list[dict[str, Any]]:
        settings = node.loaded.settings.policy
        findings = await asyncio.to_thread(check, policy_source(node.loaded), engine=settings.engine)
        return [finding_object(finding) for finding in findings]

    async def policy_test() -> list[dict[str, Any]]:
        return await asyncio.to_thread(policy_tests, node)

    async def policy_explain(question: Question) -> dict[str, Any]:
        context = PolicyContext(local_time=datetime.now(UTC), args=question.arguments)
        explained = node.policy.explain(
            frozenset(question.subjects), question.model, question.tool, question.action, context
        )
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
            "ready": node.ready(),
            "policy_version": plane.policy.version,
            "revision": plane.catalog.revision,
            "config": node.loaded.file or None,
            "models": list(plane.catalog.models),
            "keys": len(plane.keys.all()),
            "sessions_live": plane.sessions.counts()["sessions"],
            "ledger_behind": node.books.behind,
        }

    return Control(desk, node.books.reports, keeper.reload, policy_check, policy_test, policy_explain, status)


def policy_tests(node: Node) -> list[dict[str, Any]]:
    """What tests.yaml on disk expects of the policy on disk. A policy that cannot be loaded fails as one result."""
    try:
        policy = compile_policy(policy_source(node.loaded), engine=node.loaded.settings.policy.engine)
        results = run_tests(policy)
    except PolicyInvalid as invalid:
        return [{"passed": False, "finding": finding_object(finding)} for finding in invalid.findings]
    return [
        {"passed": result.passed, "finding": None if result.passed else finding_object(result.finding())}
        for result in results
    ]


def finding_object(finding: Finding) -> dict[str, Any]:
    return {
        "path": str(finding.path),
        "line": finding.line,
        "column": finding.column,
        "message": finding.message,
        "fix": finding.fix,
    }
