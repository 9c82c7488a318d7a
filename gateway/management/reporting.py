"""Who spent what, and what the journal says: the read side, in the shapes that people read."""

from typing import Any

from gateway.core.denial import time_shown
from gateway.core.report import USAGE_DIMENSIONS, AuditRow, AuditSearch, UsageRow
from gateway.management.refused import ManagementRefused
from gateway.ports import Reports


async def usage(
    reports: Reports, by: tuple[str, ...], since_us: int | None, until_us: int | None
) -> list[dict[str, Any]]:
    """One object a group, dearest first; money in USD."""
    if not by:
        raise ManagementRefused(f"name something to group by: {', '.join(USAGE_DIMENSIONS)}")
    unknown = [name for name in by if name not in USAGE_DIMENSIONS]
    if unknown:
        raise ManagementRefused(f"'{unknown[0][:40]}' is nothing to group by; there are {', '.join(USAGE_DIMENSIONS)}")
    rows = await reports.usage(by, since_us, until_us)
    rows.sort(key=lambda row: (-row.cost_usd_micros, row.group))
    return [usage_object(by, row) for row in rows]


def usage_object(by: tuple[str, ...], row: UsageRow) -> dict[str, Any]:
    return {
        **dict(zip(by, row.group, strict=True)),
        "calls": row.calls,
        "denied": row.denied,
        "would_deny": row.would_deny,
        "input_tokens": row.input_tokens,
        "cached_input_tokens": row.cached_input_tokens,
        "output_tokens": row.output_tokens,
        "reasoning_tokens": row.reasoning_tokens,
        "tool_calls": row.tool_calls,
        "cost_usd": row.cost_usd_micros / 1_000_000,
        "estimated_calls": row.estimated_calls,
    }


async def audit(reports: Reports, search: AuditSearch) -> list[dict[str, Any]]:
    return [audit_object(row) for row in await reports.audit(search)]


def audit_object(row: AuditRow) -> dict[str, Any]:
    return {
        "seq": row.seq,
        "at": time_shown(row.at_us),
        "segment": row.segment,
        "kind": row.kind,
        "doc": row.doc,
        "hash": row.hash,
    }


async def verify(reports: Reports) -> dict[str, Any]:
    """The whole chain, and every derived table against it."""
    found = await reports.verify()
    drift = await reports.recount()
    return {
        "ok": not found.faults and not drift,
        "rows": found.rows,
        "segments": found.segments,
        "head": found.head,
        "faults": [{"seq": fault.seq, "what": fault.what} for fault in found.faults],
        "drift": [{"table": each.table, "key": each.key} for each in drift],
    }
