"""Values that are made on every call.

`@value` is `@dataclass(frozen=True, slots=True)`, but that the type checker alone sees to it that no field is set.
Frozen at run time too, a value of 16 fields takes 2.2 us to make instead of 0.8, and a call makes a dozen of them.
"""

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

_Value = TypeVar("_Value")


@dataclass_transform(frozen_default=True)
def value(cls: type[_Value]) -> type[_Value]:
    return dataclass(slots=True, unsafe_hash=True)(cls)
