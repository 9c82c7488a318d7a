"""OpenAI embeddings: what a request asks for, checked. Refused fields and errors as for chat completions."""

from collections.abc import Mapping
from typing import Any

from gateway.core.wire.facts import FieldRefused
from gateway.core.wire.openai_chat import REFUSED_FIELDS, refuse_fields
from gateway.core.wire.task import TaskFacts

INPUTS_MAX = 2048


def read_embeddings(body: Mapping[str, Any]) -> TaskFacts:
    """Raises FieldRefused naming the first field that is wrong."""
    if not REFUSED_FIELDS.keys().isdisjoint(body):
        refuse_fields(body)
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise FieldRefused("model", "`model` must be a non-empty string")
    given = body.get("input")
    if isinstance(given, str):
        return TaskFacts(model, (given,), 0, 1)
    if not isinstance(given, list) or not given:
        raise FieldRefused("input", "`input` must be a string or a non-empty list")
    if _tokens(given):
        return TaskFacts(model, (), len(given), 1)
    if len(given) > INPUTS_MAX:
        raise FieldRefused("input", f"`input` may have at most {INPUTS_MAX} entries")
    if all(isinstance(item, str) for item in given):
        return TaskFacts(model, tuple(given), 0, len(given))
    if all(isinstance(item, list) and item and _tokens(item) for item in given):
        return TaskFacts(model, (), sum(len(item) for item in given), len(given))
    raise FieldRefused("input", "`input` must be all strings or all lists of tokens")


def _tokens(items: list[Any]) -> bool:
    return all(isinstance(item, int) and not isinstance(item, bool) for item in items)
