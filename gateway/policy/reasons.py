"""Decisions in words for a person or an agent. They name no principal: decisions are kept where names are not."""

from gateway.core.decision import Decision
from gateway.policy.rows import MODEL_INVOKE, NONE, TOOL_CALL, TOOL_LIST, Place

_NAME_CHARACTERS_MAX = 100


def allowed_by(place: Place, version: str) -> Decision:
    return Decision(True, f"allowed by {place}", str(place), version)


def denied_by(place: Place, version: str, model: str, tool: str, action: str) -> Decision:
    asked = _asked(model, tool, action)
    return Decision(False, f"{place} denies this identity {asked}", str(place), version)


def denied_by_default(version: str, model: str, tool: str, action: str) -> Decision:
    asked = _asked(model, tool, action)
    reason = f"no policy row allows this identity {asked}; what no row allows is denied"
    return Decision(False, reason, None, version)


def denied_by_failure(version: str) -> Decision:
    return Decision(False, "the policy could not be evaluated for this call, so it is denied", None, version)


def _asked(model: str, tool: str, action: str) -> str:
    if action == MODEL_INVOKE:
        return f"to use {_model(model)}" + ("" if tool == NONE else f" with the tool {_shown(tool)}")
    if action in (TOOL_CALL, TOOL_LIST):
        verb = "call" if action == TOOL_CALL else "see"
        return f"to {verb} the tool {_shown(tool)} " + (
            "outside any model" if model == NONE else f"with {_model(model)}"
        )
    return _shown(action)


def _model(name: str) -> str:
    return f"the model {_shown(name)}"


def _shown(name: str) -> str:
    """Clients choose these names: nothing that moves a terminal, nothing endless."""
    cut = name if len(name) <= _NAME_CHARACTERS_MAX else name[:_NAME_CHARACTERS_MAX] + "..."
    return cut if cut.isprintable() else ascii(cut)
