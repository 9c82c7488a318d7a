"""What makes opencode ask again, kept out of denials that it should show: numbers that look like a status.

It searches the whole text of an error for 429, 500, 502, 503, 504 and 524, whatever status and headers say (1.18), so
`1,500 tokens` would make it ask for ever. In words such a number gets an invisible joiner; figures for machines, which
nobody reads there, are left out where one of them would match.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

_STATUS = re.compile(r"(?=429|50[0234]|524)[45]")
_JOINER = "\u2060"


def asks_again_at_numbers(headers: Mapping[str, str]) -> bool:
    """Whether the client is opencode. Header names in lower case."""
    return "x-session-affinity" in headers or headers.get("user-agent", "").startswith("opencode/")


def quiet_words(text: str) -> str:
    """The same for people; no number in it looks like a status."""
    return _STATUS.sub(lambda match: match[0] + _JOINER, text)


def quiet_figures(machine: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same, or only its code where a figure or an id looks like a status."""
    return {"code": machine.get("code")} if _STATUS.search(json.dumps(machine)) else machine
