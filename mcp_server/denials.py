"""A refusal as MCP clients hear it: over HTTP before a message was read, or as the result of a tool call."""

from typing import Any

import orjson

from gateway.core.denial import Code, Denial
from gateway.core.upstream import UpstreamError, UpstreamInvalid, UpstreamTimeout

KEY_CODES = frozenset({Code.KEY_MISSING, Code.KEY_UNKNOWN, Code.KEY_EXPIRED, Code.KEY_DISABLED, Code.KEY_REVOKED})
BUSY_CODES = frozenset({Code.RATE_LIMITED, Code.CONCURRENCY_LIMITED, Code.BUDGET_HELD, Code.SESSION_LIMIT})
DOWN_CODES = frozenset({Code.LEDGER_UNAVAILABLE, Code.OVERLOADED})
Headers = list[tuple[bytes, bytes]]


def http_status(code: Code) -> int:
    """The status of a refusal that stands before MCP itself."""
    if code in KEY_CODES:
        return 401
    if code in BUSY_CODES:
        return 429
    if code in DOWN_CODES:
        return 503
    return {Code.REQUEST_MALFORMED: 400, Code.REQUEST_TOO_LARGE: 413, Code.ROUTE_UNKNOWN: 404}.get(code, 403)


def http_refusal(denial: Denial) -> tuple[int, Headers, bytes]:
    """Status, headers and a body that is both a JSON-RPC error and holds the machine-readable object."""
    status = http_status(denial.code)
    headers: Headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    if status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="comptroller"'))
    if denial.retry_after_s is not None:
        headers.append((b"retry-after", str(max(1, round(denial.retry_after_s))).encode()))
    rpc_code = -32700 if denial.code is Code.REQUEST_MALFORMED else -32600
    error = {
        "code": rpc_code,
        "message": denial.message,
        "data": {"code": denial.code.value, "comptroller": denial.machine()},
        "comptroller": denial.machine(),
    }
    return status, headers, orjson.dumps({"jsonrpc": "2.0", "id": None, "error": error})


def tool_refusal(denial: Denial) -> dict[str, Any]:
    """A call that was refused, as a result that the model reads: a sentence, and the object behind it."""
    return {
        "content": [{"type": "text", "text": denial.message}],
        "structuredContent": {"comptroller": denial.machine()},
        "isError": True,
    }


def unavailable(name: str) -> Denial:
    """The one answer for a tool that does not exist and for one that this key may not see."""
    return Denial(
        Code.TOOL_DENIED,
        f"There is no tool `{name[:128]}` for this key: use one of the tools that are listed.",
        rule=None,
    )


def upstream_denial(server: str, error: UpstreamError) -> Denial:
    """A tool server that gave no usable answer."""
    if isinstance(error, UpstreamTimeout):
        code = Code.UPSTREAM_TIMEOUT
    else:
        code = Code.UPSTREAM_INVALID if isinstance(error, UpstreamInvalid) else Code.UPSTREAM_FAILED
    return Denial(code, f"The tool server `{server}` gave no answer: {error}.")
