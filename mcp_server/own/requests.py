"""quota_request: an agent asks a person for more, and sees what became of it."""

from collections.abc import Mapping
from typing import Any, Final

from mcp_server.own.tool import AMOUNT, MAYBE_TEXT, SESSION, SUMMARY, Asked, a_text, an_object, list_of, own_tool

STATES: Final = ("pending", "approved", "denied", "withdrawn", "lapsed", "expired", "revoked")
REQUEST: Final = an_object(
    {
        "request": a_text("Its id: ask again with it to see what became of it."),
        "state": {"type": "string", "enum": list(STATES)},
        "limit": {"type": "string"},
        "scope": {"type": "string"},
        "unit": {"type": "string"},
        "amount": AMOUNT,
        "until": {"type": "string"},
        "reason": {"type": "string"},
        "asked_at": {"type": "string"},
        "decided_at": MAYBE_TEXT,
        "note": a_text("What the person who decided said."),
        "granted": AMOUNT,
        "granted_from": MAYBE_TEXT,
        "granted_until": MAYBE_TEXT,
    },
    ("request", "state", "limit", "scope", "unit"),
)


async def _request(asked: Asked) -> Mapping[str, Any]:
    return await asked.governance.request(asked.caller, asked.headers, asked.arguments)


REQUEST_MORE: Final = own_tool(
    "quota_request",
    "Ask for more",
    "Asks a person to raise one limit for a time: name the limit (or the call that it refused), the amount to add, "
    "why, and until when. Does not wait: ask again with the id of the request to see whether it was approved. Without "
    "any argument it lists what you asked for.",
    an_object(
        {
            "limit": {**a_text("Name of the limit, as in quota_status."), "maxLength": 128},
            "call": {**a_text("The `call` of a denial, instead of the limit."), "maxLength": 128},
            "amount": {
                "type": "number",
                "exclusiveMinimum": 0,
                "description": "How much more, in the unit of the limit; usd in dollars.",
            },
            "reason": {**a_text("Why, for the person who decides."), "maxLength": 500},
            "until": {**a_text("An instant (ISO 8601) or a span such as 2h; one day if left out."), "maxLength": 64},
            "scope": {**a_text("Which of your counters, if the limit has several."), "maxLength": 512},
            "session": SESSION,
            "request": {**a_text("Id of an earlier request, to see its state."), "maxLength": 128},
            "withdraw": {"type": "boolean", "description": "With `request`: ask for it no longer."},
        }
    ),
    an_object(
        {"summary": SUMMARY, "requests": list_of(REQUEST, "The one that was meant, or all of this key, newest first.")},
        ("summary", "requests"),
    ),
    _request,
    changes=True,
)
