"""What the provider said beside what the gateway wrote down, and how a provider fails."""

from typing import Any

from tests.support.fixtures import LogRow
from tests.support.gateway import GatewayProcess

FAULTS = {
    "500": {"preset": "mock-500"},
    "429": {"status": 429, "headers": [["retry-after", "1"]], "body": '{"error":{"message":"slow down"}}'},
    "529": {"status": 529, "body": '{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'},
    "hang": {"fault": "hang_before_headers"},
}


def told(row: LogRow) -> tuple[int, int]:
    """(input, output) tokens as the provider reported them."""
    usage = row.usage
    assert usage is not None, row
    if "promptTokenCount" in usage:
        return usage["promptTokenCount"], usage["candidatesTokenCount"] + usage.get("thoughtsTokenCount", 0)
    if "prompt_tokens" in usage:
        return usage["prompt_tokens"], usage["completion_tokens"]
    return usage["input_tokens"] + usage.get("cache_read_input_tokens", 0), usage["output_tokens"]


def written(call: dict[str, Any]) -> tuple[int, int]:
    return call["input_tokens"], call["output_tokens"]


def one_session(gateway: GatewayProcess, calls: list[dict[str, Any]]) -> str:
    (session,) = {call["session_id"] for call in calls}
    return str(session)
