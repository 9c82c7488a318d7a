"""What `comptroller check` looks at: everything that a start checks, without starting."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path

from gateway.cli.api import config_path
from gateway.cli.output import FINDING, OK, print_json, say
from gateway.cli.without_file import without_file
from gateway.settings import Finding, Loaded, SettingsError, load
from gateway.wiring.catalog import catalog_of
from gateway.wiring.policy_files import policy_findings
from gateway.wiring.prices import DeploymentPrices
from gateway.wiring.providers import provider_faults
from gateway.wiring.system import SystemClock
from gateway.wiring.tokens import credential_cautions


@dataclass(frozen=True, slots=True)
class Found:
    """A fault or a warning. Line and column count from 1; 0 where the whole file is meant."""

    fault: bool
    file: str
    line: int
    column: int
    setting: str
    message: str
    hint: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}: " if self.line else f"{self.file}: " if self.file else ""
        subject = f"{self.setting}: " if self.setting else ""
        kind = "" if self.fault else "warning: "
        return f"{place}{kind}{subject}{self.message}" + (f"\n    {self.hint}" if self.hint else "")


def run(config: Path | None, *, as_json: bool) -> int:
    """Returns the exit code."""
    _, found = look(config)
    sound = not any(each.fault for each in found)
    if as_json:
        print_json({"ok": sound, "findings": [asdict(each) for each in found]})
    else:
        for each in found:
            say(str(each))
        if sound:
            say("Configuration and policy are sound.")
    return OK if sound else FINDING


def look(config: Path | None) -> tuple[Loaded | None, list[Found]]:
    """The configuration, if it can be loaded at all, and everything that was found in it and in the policy."""
    path = config_path(config)
    try:
        loaded = without_file(dict(os.environ)) if path is None else load(path, dict(os.environ))
    except SettingsError as error:
        return None, [_found(finding, fault=True) for finding in error.findings]
    faults = [
        Found(True, str(loaded.resolve(each["path"])), each["line"], each["column"], "", each["message"], each["fix"])
        for each in policy_findings(loaded)
    ]
    unusable = provider_faults(loaded)
    warnings = [*loaded.warnings, *([] if unusable else credential_cautions(loaded)), *_unpriced(loaded)]
    faults += [_found(finding, fault=True) for finding in unusable]
    return loaded, [*faults, *(_found(finding, fault=False) for finding in warnings)]


def _found(finding: Finding, *, fault: bool) -> Found:
    file = finding.file if finding.line else ""
    return Found(fault, file, finding.line, finding.column, finding.setting, finding.message, finding.hint)


def _unpriced(loaded: Loaded) -> list[Finding]:
    """Models whose every call would be refused for want of a price."""
    prices = DeploymentPrices(loaded.settings)
    now_us = SystemClock().now_us()
    return [
        loaded.finding(("models", alias), "has no known price; its calls are refused", "set `price`")
        for alias, model in catalog_of(loaded.settings, 1).models.items()
        if any(prices.rates_for(alias, deployment, now_us) is None for deployment in model.deployments)
    ]
