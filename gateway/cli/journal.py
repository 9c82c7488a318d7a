"""Rows of the journal as a person reads them; `--json` has everything that is in them."""

from collections.abc import Mapping
from typing import Any

from gateway.cli.output import decimal

COLUMNS = ("seq", "at", "kind", "subject", "who", "what")
_SAYING = ("action", "code", "outcome", "reason", "source", "node")
_MICROS = 1_000_000


def told(row: Mapping[str, Any]) -> dict[str, Any]:
    """One cell for each of COLUMNS. `who` = who did it, or whose key called."""
    doc: Mapping[str, Any] = row["doc"]
    attribution = doc.get("attribution")
    key = attribution.get("key") if isinstance(attribution, dict) else None
    return {**row, "subject": doc.get("subject"), "who": doc.get("actor") or key, "what": _what(doc)}


def _what(doc: Mapping[str, Any]) -> str:
    said = [str(doc[field]) for field in _SAYING if doc.get(field)]
    if doc.get("count", 1) != 1:
        said.append(f"{doc['count']} times")
    if "held" in doc and "model" in doc:
        said.append(f"model {doc['model']}")
    if doc.get("routed_from"):
        said.append(f"routed from {doc['routed_from']}")
    said += [f"{what} would deny" for what in doc.get("would_deny", ())]
    said += [f"{decimal(doc[verb]['usd_micros'] / _MICROS)} USD {verb}" for verb in ("held", "posted") if verb in doc]
    return ", ".join(said)
