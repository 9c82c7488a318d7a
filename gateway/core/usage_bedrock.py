"""Token usage as Bedrock's Converse reports it (`TokenUsage`), in the inclusive convention of `gateway.core.usage`.

`inputTokens` leaves out what was read from or written to a cache, as Anthropic's figures do; `cacheDetails` tells
writes by how long they are kept.
"""

from collections.abc import Mapping

from gateway.core.usage import Usage, fitted, report_count, report_object

_HOUR = "1h"


def from_bedrock(report: object) -> Usage | None:
    """None: no report, or one without input or output. What the total has more than its parts is output. Raises
    UsageInvalid."""
    if report is None:
        return None
    usage = report_object("usage", report)
    fresh, output_tokens = report_count(usage, "inputTokens"), report_count(usage, "outputTokens")
    total_tokens = report_count(usage, "totalTokens")
    if [fresh, output_tokens, total_tokens].count(None) > 1:
        return None
    cached = report_count(usage, "cacheReadInputTokens") or 0
    long, told = _written(usage)
    written = max(report_count(usage, "cacheWriteInputTokens") or 0, told)
    if fresh is None:
        fresh = max(0, (total_tokens or 0) - (output_tokens or 0) - cached - written)
    input_tokens = fresh + cached + written
    output_tokens = max(output_tokens or 0, (total_tokens or 0) - input_tokens)
    return fitted(input_tokens, (cached, written, 0), output_tokens, (0, 0), long)


def _written(usage: Mapping[str, object]) -> tuple[int, int]:
    """(cache writes that are kept for an hour, all that are told apart)."""
    details = usage.get("cacheDetails")
    long = told = 0
    for detail in details if isinstance(details, list) else ():
        each = report_object("cacheDetails", detail)
        tokens = report_count(each, "inputTokens") or 0
        told += tokens
        long += tokens if each.get("ttl") == _HOUR else 0
    return long, told
