"""The configuration: one YAML file, checked whole, every fault at its line and column.

Imported by the command line, the app and the wiring only; everything below receives plain values.
"""

from gateway.settings.findings import Finding, SettingsError
from gateway.settings.loader import Loaded, Origin, load, parse
from gateway.settings.root import Settings
from gateway.settings.secret import Secret
from gateway.settings.watch import Watch, fingerprint

__all__ = [
    "Finding",
    "Loaded",
    "Origin",
    "Secret",
    "Settings",
    "SettingsError",
    "Watch",
    "fingerprint",
    "load",
    "parse",
]
