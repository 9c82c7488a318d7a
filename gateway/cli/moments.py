"""Moments as people type them: `2027-01-31`, `2027-01-31T12:00:00Z`, or how long ago: `7d`, `12h`, `30m`."""

import re
from datetime import UTC, datetime, timedelta

_AGO = re.compile(r"([1-9][0-9]{0,5})([smhdw])", re.ASCII)


def moment(text: str | None) -> str | None:
    """What the admin API takes; what is no age is left to it to judge."""
    match = None if text is None else _AGO.fullmatch(text)
    if match is None:
        return text
    unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}[match[2]]
    try:
        return (datetime.now(UTC) - timedelta(**{unit: int(match[1])})).isoformat()
    except OverflowError:
        return text
