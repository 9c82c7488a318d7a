"""The one place that imports by name: `--help` must answer in 200 ms, and the gateway takes ten times that to load."""

import gc
import importlib
from typing import Any


def load(module: str) -> Any:
    """The module, imported now. What modules make stays, so the collector rests meanwhile: its rounds over it, again
    and again, would take a third of the time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        return importlib.import_module(module)
    finally:
        if collects:
            gc.enable()
