"""session_open_child and session_close: an agent hands a part of its budget to a sub-agent, and ends its own run."""

from collections.abc import Mapping
from typing import Any, Final

from mcp_server.own.tool import LIMIT, MAYBE_TEXT, SUMMARY, Asked, a_text, an_object, list_of, own_tool

_COUNT: Final = {"type": "integer", "minimum": 1}


async def _open_child(asked: Asked) -> Mapping[str, Any]:
    return await asked.governance.open_child(asked.caller, asked.headers, asked.arguments)


async def _close(asked: Asked) -> Mapping[str, Any]:
    return await asked.governance.close_session(asked.caller, asked.headers, asked.arguments.get("session"))


OPEN_CHILD: Final = own_tool(
    "session_open_child",
    "Open a child session",
    "Gives a sub-agent a session of its own, capped at a part of what this session has left. What the child spends "
    "counts here too; nothing is set aside. Hand the token to the sub-agent, which sends it in x-comptroller-session.",
    an_object(
        {
            "tokens": {**_COUNT, "description": "The most tokens the child may use."},
            "usd": {"type": "number", "exclusiveMinimum": 0, "description": "The most it may spend, in dollars."},
            "requests": {**_COUNT, "description": "The most model and tool calls it may make."},
            "tool_calls": {**_COUNT, "description": "The most tool calls it may make."},
            "share": {
                "type": "integer",
                "minimum": 1,
                "maximum": 100,
                "description": "Percent of what this session has left, of every unit that is limited.",
            },
            "agent": {**a_text("Keys of this agent may use the child too, beside yours."), "maxLength": 128},
            "expires_in_s": {**_COUNT, "description": "Seconds until the token ends; with this run at the latest."},
            "session": a_text("The parent, if it is not the session of this request."),
        }
    ),
    an_object(
        {
            "summary": SUMMARY,
            "session": {"type": "string"},
            "parent": {"type": "string"},
            "depth": {"type": "integer", "minimum": 1},
            "token": a_text("Told this once. Works with your key, or with a key of the agent named."),
            "header": a_text("Where the sub-agent sends the token."),
            "agent": MAYBE_TEXT,
            "expires_at": {"type": "string"},
            "limits": list_of(LIMIT, "The child's part."),
        },
        ("summary", "session", "parent", "depth", "token", "header", "expires_at", "limits"),
    ),
    _open_child,
    changes=True,
)
CLOSE: Final = own_tool(
    "session_close",
    "Close a session",
    "Ends this session, or one that it opened, with everything below it. Nothing more is spent in a closed child; "
    "its part is free again.",
    an_object({"session": a_text("The session to close, if it is not that of this request.")}),
    an_object(
        {
            "summary": SUMMARY,
            "session": {"type": "string"},
            "closed": list_of({"type": "string"}, "Ids of the sessions that were closed."),
        },
        ("summary", "session", "closed"),
    ),
    _close,
    changes=True,
)
