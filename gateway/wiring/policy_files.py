"""What is wrong with the policy on disk, and what its tests say: for the admin API, and for commands without one."""

from typing import Any

from gateway.policy.engine import check, compile_policy, run_tests
from gateway.policy.findings import Finding, PolicyInvalid
from gateway.settings import Loaded
from gateway.wiring.node import policy_source


def policy_findings(loaded: Loaded) -> list[dict[str, Any]]:
    """Empty if it would be taken up. Paths are as the configuration names them."""
    return [finding_object(each) for each in check(policy_source(loaded), engine=loaded.settings.policy.engine)]


def policy_tests(loaded: Loaded) -> list[dict[str, Any]]:
    """What tests.yaml expects of the policy. A policy that cannot be loaded fails with each of its findings."""
    try:
        policy = compile_policy(policy_source(loaded), engine=loaded.settings.policy.engine)
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
