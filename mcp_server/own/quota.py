"""quota_status, quota_estimate, quota_limits, quota_history: what is left, what a call would cost, what is in force,
what was used."""

from collections.abc import Mapping
from typing import Any, Final

from mcp_server.own.requests import REQUEST
from mcp_server.own.tool import (
    COUNT,
    LIMIT,
    MAYBE_TEXT,
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
        "parent": MAYBE_TEXT,
        "depth": COUNT,
        "limits": list_of(LIMIT, "What binds this session."),
    },
    ("session", "state"),
)
_USED: Final = an_object(
    {
        "start": {"type": "string"},
        "calls": COUNT,
        "denied": COUNT,
        "input_tokens": COUNT,
        "cached_input_tokens": COUNT,
        "output_tokens": COUNT,
        "tool_calls": COUNT,
        "cost_usd": {"type": "number"},
    },
    ("start", "calls", "denied", "input_tokens", "output_tokens", "tool_calls", "cost_usd"),
)


async def _status(asked: Asked) -> Mapping[str, Any]:
    return await asked.governance.status(asked.caller, asked.headers, asked.arguments.get("session"))


async def _estimate(asked: Asked) -> Mapping[str, Any]:
    return await asked.governance.estimate(asked.caller, asked.headers, asked.arguments)


async def _history(asked: Asked) -> Mapping[str, Any]:
    return await asked.governance.history(asked.caller, asked.arguments.get("by") or "day", asked.arguments.get("last"))


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
            "requests": list_of(REQUEST, "What this key asked for lately, and what became of it."),
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
HISTORY: Final = own_tool(
    "quota_history",
    "What was used",
    "What this key used so far, by hour or by day (UTC), oldest first.",
    an_object(
        {
            "by": {"type": "string", "enum": ["hour", "day"], "description": "Length of a row; day if left out."},
            "last": {
                "type": "integer",
                "minimum": 1,
                "maximum": 400,
                "description": "How many hours or days, the current one included; 7 if left out.",
            },
        }
    ),
    an_object(
        {
            "summary": SUMMARY,
            "by": {"type": "string"},
            "since": {"type": "string"},
            "until": {"type": "string"},
            "rows": list_of(_USED, "Hours or days in which nothing was used are left out."),
        },
        ("summary", "by", "since", "until", "rows"),
    ),
    _history,
)
