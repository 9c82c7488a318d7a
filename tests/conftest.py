"""What holds for every test: a clean environment, no skips in CI, property tests without a stopwatch."""

import os
import sys
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

CI = os.environ.get("CI") == "true"

# The gateway takes up whichever of these it finds, so a developer's own keys must never reach a test or its children.
AMBIENT_PREFIXES = ("COMPTROLLER_", "OPENAI_", "ANTHROPIC_", "GEMINI_", "GOOGLE_", "AZURE_OPENAI_", "AWS_")
AMBIENT_NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "FORCE_COLOR", "NO_COLOR")

# A shared machine is slow now and then; what may take how long is measured in benchmarks/, not guessed by a deadline.
settings.register_profile("local", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# The same examples at every run: CI tells of the change at hand, not of chance. New examples are found on desks.
settings.register_profile("ci", parent=settings.get_profile("local"), derandomize=True)


def pytest_configure() -> None:
    for name in list(os.environ):
        if name.startswith(AMBIENT_PREFIXES) or name.upper() in AMBIENT_NAMES:
            del os.environ[name]
    # The suite starts some hundred gateways; without this each of them would compile each module anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    settings.load_profile("ci" if CI else "local")


def refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """With CI=true nothing may be skipped: what is missing there must be installed by .ci/run."""
    if not CI or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    report.outcome = "failed"
    report.longrepr = f"{report.nodeid} may not be skipped where CI=true. {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    refuse_skip(report)
    return report
