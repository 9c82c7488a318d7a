"""What `comptroller check` looks at: everything that a start checks, without starting."""

import os
from pathlib import Path
from typing import Any

from gateway.cli.api import config_path
from gateway.cli.output import FINDING, OK, print_json, say
from gateway.cli.without_file import without_file
from gateway.policy.engine import check
from gateway.settings import Loaded, SettingsError, load
from gateway.wiring.catalog import catalog_of
from gateway.wiring.node import policy_source
from gateway.wiring.prices import DeploymentPrices
from gateway.wiring.system import SystemClock


def run(config: Path | None, *, as_json: bool) -> int:
    """Returns the exit code."""
    faults, warnings = findings(config)
    if as_json:
        print_json({"ok": not faults, "faults": faults, "warnings": warnings})
    else:
        for fault in faults:
            say(fault)
        for warning in warnings:
            say(f"warning: {warning}")
        if not faults:
            say("Configuration and policy are sound.")
    return FINDING if faults else OK


def findings(config: Path | None) -> tuple[list[str], list[str]]:
    """(faults, warnings), each as file:line:column and words."""
    path = config_path(config)
    try:
        loaded = without_file(dict(os.environ)) if path is None else load(path, dict(os.environ))
    except SettingsError as error:
        return [str(finding) for finding in error.findings], []
    faults = [str(finding) for finding in check(policy_source(loaded), engine=loaded.settings.policy.engine)]
    return faults, [*(str(warning) for warning in loaded.warnings), *_unpriced(loaded)]


def _unpriced(loaded: Loaded) -> list[str]:
    """Models whose every call would be refused for want of a price."""
    prices: Any = DeploymentPrices(loaded.settings)
    now_us = SystemClock().now_us()
    return [
        str(loaded.finding(("models", alias), "has no known price; its calls are refused", "set `price`"))
        for alias, model in catalog_of(loaded.settings, 1).models.items()
        if any(prices.rates_for(alias, deployment, now_us) is None for deployment in model.deployments)
    ]
