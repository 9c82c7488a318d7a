"""The tools that Comptroller itself offers to agents: what may I still use, what would this cost, why was I refused.

They are always allowed, cost nothing, need no session to be open, and tell about the caller's own key only.
Every result holds `summary`, one sentence, which is also the text of the result.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from gateway.core.denial import Code, Denial, Refused
from mcp_server.denials import tool_refusal
from mcp_server.governance import Caller, Governance
from mcp_server.rate import KeyRate

Schema = dict[str, Any]


def _object(properties: Schema, required: tuple[str, ...] = ()) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required)}


def _text(description: str) -> Schema:
    return {"type": "string", "description": description}


def _list_of(items: Schema, description: str) -> Schema:
    return {"type": "array", "items": items, "description": description}


_COUNT: Final = {"type": "integer", "minimum": 0}
_AMOUNT: Final = {"type": "number", "description": "In the unit of the limit; usd in dollars."}
_MAYBE_TEXT: Final = {"type": ["string", "null"]}
_SUMMARY: Final = _text("All of it in one sentence.")
_SESSION: Final = _text("One session of this key; without it, all open ones.")
_LIMIT: Final = _object(
    {
        "name": {"type": "string"},
        "scope": {"type": "string"},
        "unit": {"type": "string"},
        "limit": _AMOUNT,
        "spent": _AMOUNT,
        "held": _AMOUNT,
        "remaining": _AMOUNT,
        "window": _MAYBE_TEXT,
        "resets_at": _MAYBE_TEXT,
    },
    ("name", "scope", "unit", "limit", "remaining"),
)
_SESSION_STATE: Final = _object(
    {
        "session": {"type": "string"},
        "state": {"type": "string"},
        "limits": _list_of(_LIMIT, "What binds this session."),
    },
    ("session", "state"),
)
_MODEL: Final = _object({"name": {"type": "string"}}, ("name",))


def _definition(name: str, title: str, description: str, asked: Schema, answered: Schema) -> Mapping[str, Any]:
    return {
        "name": name,
        "title": title,
        "description": description,
        "inputSchema": {**asked, "additionalProperties": False},
        "outputSchema": answered,
        "annotations": {"title": title, "readOnlyHint": True, "openWorldHint": False},
    }


DEFINITIONS: Final[tuple[Mapping[str, Any], ...]] = (
    _definition(
        "quota_status",
        "Remaining quota",
        "How much of every budget and limit is spent, held and left for you, and which one binds first. "
        "Ask before long or expensive work.",
        _object({"session": _SESSION}),
        _object(
            {
                "summary": _SUMMARY,
                "binds_first": {"anyOf": [_LIMIT, {"type": "null"}]},
                "limits": _list_of(_LIMIT, "Limits beyond single sessions."),
                "sessions": _list_of(_SESSION_STATE, "Sessions of this key."),
            },
            ("summary",),
        ),
    ),
    _definition(
        "quota_estimate",
        "Estimate a call",
        "What a model call or a tool call would hold and cost at most, and whether it would be allowed now. "
        "Give a model with messages or token counts, or a tool with arguments.",
        _object(
            {
                "model": _text("Name of a model, as in models_list."),
                "messages": _list_of({"type": "object"}, "Messages as they would be sent."),
                "input_tokens": _COUNT,
                "output_tokens": _COUNT,
                "tool": _text("Name of a tool, as listed here."),
                "arguments": {"type": "object"},
                "session": _SESSION,
            }
        ),
        _object(
            {
                "summary": _SUMMARY,
                "would_allow": {"type": "boolean"},
                "input_tokens": {"type": ["integer", "null"]},
                "output_tokens": {"type": ["integer", "null"]},
                "cost_usd": {"type": ["number", "null"]},
                "binding_limit": {"anyOf": [_LIMIT, {"type": "null"}]},
            },
            ("summary", "would_allow"),
        ),
    ),
    _definition(
        "quota_limits",
        "Limits in force",
        "Every limit that applies to you, with its window, scope and action.",
        _object({"session": _SESSION}),
        _object({"summary": _SUMMARY, "limits": _list_of(_LIMIT, "In the order of the file.")}, ("summary", "limits")),
    ),
    _definition(
        "models_list",
        "Models you may use",
        "The models that this key may use now, with their prices where known.",
        _object({}),
        _object({"summary": _SUMMARY, "models": _list_of(_MODEL, "By name.")}, ("summary", "models")),
    ),
    _definition(
        "denial_explain",
        "Explain a denial",
        "Why a call of this key was refused: the rule or limit, its figures at that moment, and what to do.",
        _object({"call_id": _text("The `call` of the denial.")}, ("call_id",)),
        _object({"summary": _SUMMARY, "comptroller": {"type": "object"}}, ("summary",)),
    ),
)
NAMES: Final = frozenset(str(definition["name"]) for definition in DEFINITIONS)
_CHECKED: Final[Mapping[str, type]] = {"session": str, "model": str, "tool": str, "call_id": str, "arguments": dict}


class OwnTools:
    """`rate_per_s` calls a second and key; more are refused with the time to wait."""

    def __init__(self, governance: Governance, rate_per_s: float, clock: Callable[[], float]) -> None:
        self._governance = governance
        self._rate = KeyRate(rate_per_s, burst=max(1, round(2 * rate_per_s)), clock=clock)

    async def call(
        self, caller: Caller, name: str, headers: Mapping[str, str], arguments: Mapping[str, Any]
    ) -> dict[str, Any]:
        """A raw CallToolResult; a refusal too."""
        try:
            self._admit(caller)
            _check(name, arguments)
            found = await self._answer(caller, name, headers, arguments)
        except Refused as refused:
            return tool_refusal(refused.denial)
        summary = found.get("summary")
        text = summary if isinstance(summary, str) else orjson.dumps(found).decode()
        return {"content": [{"type": "text", "text": text}], "structuredContent": dict(found), "isError": False}

    def _admit(self, caller: Caller) -> None:
        if (wait_s := self._rate.retry_after_s(caller.key_id)) is not None:
            message = f"Too many questions at once: ask again in {wait_s:.1f} s."
            raise Refused(Denial(Code.RATE_LIMITED, message, retry_after_s=round(wait_s, 3)))

    async def _answer(
        self, caller: Caller, name: str, headers: Mapping[str, str], arguments: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        match name:
            case "quota_status":
                return await self._governance.status(caller, headers, arguments.get("session"))
            case "quota_estimate":
                return await self._governance.estimate(caller, headers, arguments)
            case "quota_limits":
                return await self._governance.limits(caller, headers, arguments.get("session"))
            case "models_list":
                return await self._governance.models(caller)
            case _:
                return await self._governance.explain(caller, arguments["call_id"])


def _check(name: str, arguments: Mapping[str, Any]) -> None:
    (schema,) = (definition["inputSchema"] for definition in DEFINITIONS if definition["name"] == name)
    for field in schema["required"]:
        if field not in arguments:
            raise _malformed(f"`{name}` needs `{field}`.", field)
    for field, value in arguments.items():
        if field not in schema["properties"]:
            raise _malformed(f"`{name}` knows no `{field[:64]}`.", field[:64])
        if field in _CHECKED and not isinstance(value, _CHECKED[field]):
            raise _malformed(f"`{field}` of `{name}` has the wrong type.", field)


def _malformed(message: str, field: str) -> Refused:
    return Refused(Denial(Code.REQUEST_MALFORMED, message, field=field))
