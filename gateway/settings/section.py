"""What all sections of the configuration have in common."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


class Section(BaseModel):
    """Frozen; unknown keys are faults; a key without a value, or null, is the same as no key.

    Field names carry their unit; the file's names are the aliases. A program may use either.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        validate_by_name=True,
        validate_by_alias=True,
        hide_input_in_errors=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: Any) -> Any:
        if data is None:
            return {}
        if isinstance(data, Mapping):
            known = {name for key, field in cls.model_fields.items() for name in (key, field.alias)}
            return {key: value for key, value in data.items() if value is not None or key not in known}
        return data
