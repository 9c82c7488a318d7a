"""The control plane's handles on a node."""

import asyncio
import secrets
from importlib.metadata import version
from typing import Any

from gateway.core.denial import time_shown
from gateway.management.keys import KeyDesk
from gateway.management.policies import Question, question_context
from gateway.policy.engine import check, compile_policy, run_tests
from gateway.policy.findings import Finding, PolicyInvalid
from gateway.web.control import Control
from gateway.wiring.catalog import key_limits
from gateway.wiring.housekeeping import Housekeeper
from gateway.wiring.node import Node, policy_source


def control_of(node: Node, keeper: Housekeeper) -> Control:
    desk = KeyDesk(node.plane, node.digest_of, secrets.randbits, node.take_up_key)
    started_us = node.plane.clock.now_us()

    async def policy_check() -> list[dict[str, Any]]:
        settings = node.loaded.settings.policy
        findings = await asyncio.to_thread(check, policy_source(node.loaded), engine=settings.engine)
        return [finding_object(finding) for finding in findings]

    async def policy_test() -> list[dict[str, Any]]:
        return await asyncio.to_thread(policy_tests, node)

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
        }

    return Control(
        keys=desk,
        reports=node.books.reports,
        key_limits=lambda: key_limits(node.plane.keys.all()),
        reload=keeper.reload,
        policy_check=policy_check,
        policy_test=policy_test,
        policy_explain=policy_explain,
        status=status,
    )


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
