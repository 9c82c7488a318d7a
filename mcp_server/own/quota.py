"""quota_status, quota_estimate, quota_limits: what is left, what a call would cost, what is in force."""

from collections.abc import Mapping
from typing import Any, Final

from mcp_server.own.tool import (
    COUNT,
    LIMIT,
    SESSION,
    SUMMARY,
    Asked,
    a_text,
    an_object,
    list_of,
    or_null,
    own_tool,
)

_SESSION_STATE: Final = an_object(
    {
        "session": {"type": "string"},
        "state": {"type": "string"},
        "limits": list_of(LIMIT, "What binds this session."),
    },
    ("session", "state"),
)


async def _status(asked: Asked) -> Mapping[str, Any]:
    return await asked.governance.status(asked.caller, asked.headers, asked.arguments.get("session"))


async def _estimate(asked: Asked) -> Mapping[str, Any]:
    return await asked.governance.estimate(asked.caller, asked.headers, asked.arguments)


async def _limits(asked: Asked) -> Mapping[str, Any]:
    return await asked.governance.limits(asked.caller, asked.headers, asked.arguments.get("session"))


STATUS: Final = own_tool(
    "quota_status",
    "Remaining quota",
    "How much of every budget and limit is spent, held and left for you, and which one binds first. "
    "Ask before long or expensive work.",
    an_object({"session": SESSION}),
    an_object(
        {
            "summary": SUMMARY,
            "binds_first": or_null(LIMIT),
            "limits": list_of(LIMIT, "Limits beyond single sessions."),
            "sessions": list_of(_SESSION_STATE, "Sessions of this key."),
        },
        ("summary",),
    ),
    _status,
)
ESTIMATE: Final = own_tool(
    "quota_estimate",
    "Estimate a call",
    "What a model call or a tool call would hold and cost at most, and whether it would be allowed now. "
    "Give a model with messages or token counts, or a tool with arguments.",
    an_object(
        {
            "model": a_text("Name of a model, as in models_list."),
            "messages": list_of({"type": "object"}, "Messages as they would be sent."),
            "input_tokens": COUNT,
            "output_tokens": COUNT,
            "tool": a_text("Name of a tool, as listed here."),
            "arguments": {"type": "object"},
            "session": SESSION,
        }
    ),
    an_object(
        {
            "summary": SUMMARY,
            "would_allow": {"type": "boolean"},
            "input_tokens": {"type": ["integer", "null"]},
            "output_tokens": {"type": ["integer", "null"]},
            "cost_usd": {"type": ["number", "null"]},
            "binding_limit": or_null(LIMIT),
        },
        ("summary", "would_allow"),
    ),
    _estimate,
)
LIMITS: Final = own_tool(
    "quota_limits",
    "Limits in force",
    "Every limit that applies to you, with its window, scope and action.",
    an_object({"session": SESSION}),
    an_object({"summary": SUMMARY, "limits": list_of(LIMIT, "In the order of the file.")}, ("summary", "limits")),
    _limits,
)
