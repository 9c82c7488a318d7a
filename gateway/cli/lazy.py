"""The one place that imports by name: `--help` must answer in 200 ms, and the gateway takes ten times that to load."""

import importlib
from typing import Any


def load(module: str) -> Any:
    """The module, imported now."""
    return importlib.import_module(module)
