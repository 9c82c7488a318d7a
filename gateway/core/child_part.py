"""A child session's part of its parent's budget, as the limits that refuse what goes beyond it (rule 16)."""

from collections.abc import Mapping
from types import MappingProxyType

from gateway.core.limit import Limit, Unit
from gateway.core.window import parse

PART_UNITS = (Unit.TOKENS, Unit.USD, Unit.REQUESTS, Unit.TOOL_CALLS)
PART_NAME = "child-part"


def _part(unit: Unit) -> Limit:
    """The amount is that of each child, not the limit's."""
    return Limit(f"{PART_NAME}-{unit.value}", unit, 0, parse("session"), each="session")


CHILD_PARTS: Mapping[Unit, Limit] = MappingProxyType({unit: _part(unit) for unit in PART_UNITS})
"""One limit a unit, named `child-part-<unit>`, with a counter for each child that has such a part."""
