"""Which calls go to another model than they ask for."""

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, model_validator

from gateway.core.condition import compile_condition
from gateway.core.condition_tokens import ConditionInvalid
from gateway.settings.fields import Items, Name, Words, setting
from gateway.settings.findings import Fault
from gateway.settings.section import Section


def _condition(text: str) -> str:
    try:
        condition = compile_condition(text)
    except ConditionInvalid as invalid:
        raise Fault(f"{invalid.message} (character {invalid.offset + 1})", invalid.fix) from None
    if condition.reads_args:
        raise Fault("a model call has no `args`", "they belong to tool calls")
    return text


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class Route(Section):
    name: Name = setting(..., "Unique name; headers and the books call it by this.")
    models: Annotated[Items[Words], BeforeValidator(_listed)] = setting(
        (), "Model names of calls that it takes, one or a list; none: every other model.", alias="from"
    )
    to: Words = setting(..., "Model that they go to, if the caller may use it; else they keep theirs.")
    when: Annotated[Words, AfterValidator(_condition)] | None = setting(
        None, "Condition in the language of policies, such as `call.input_bytes < 4000 and call.tool_count == 0`."
    )

    @model_validator(mode="after")
    def _goes_elsewhere(self) -> "Route":
        if self.to in self.models:
            raise Fault("is where these calls come from", "a route leads to another model", at=("to",))
        return self
