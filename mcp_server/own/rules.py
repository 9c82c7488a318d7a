"""models_list and denial_explain: what a key may use, and why something was refused."""

from collections.abc import Mapping
from typing import Any, Final

from mcp_server.own.tool import SUMMARY, Asked, a_text, an_object, list_of, own_tool

_MODEL: Final = an_object({"name": {"type": "string"}}, ("name",))


async def _models(asked: Asked) -> Mapping[str, Any]:
    return await asked.governance.models(asked.caller)


async def _explain(asked: Asked) -> Mapping[str, Any]:
    return await asked.governance.explain(asked.caller, asked.arguments["call_id"])


MODELS: Final = own_tool(
    "models_list",
    "Models you may use",
    "The models that this key may use now, with their prices where known.",
    an_object({}),
    an_object({"summary": SUMMARY, "models": list_of(_MODEL, "By name.")}, ("summary", "models")),
    _models,
)
EXPLAIN: Final = own_tool(
    "denial_explain",
    "Explain a denial",
    "Why a call of this key was refused: the rule or limit, its figures at that moment, and what to do.",
    an_object({"call_id": a_text("The `call` of the denial.")}, ("call_id",)),
    an_object({"summary": SUMMARY, "comptroller": {"type": "object"}}, ("summary",)),
    _explain,
)
