"""Operands of a condition and the type rules of comparing them.

Rule: types that can never compare are refused when the policy is loaded. Only `args.` has no type before the call; a
mismatch there makes the comparison unknown.
"""

import re
from dataclasses import dataclass
from datetime import date

from gateway.core.condition_schema import WEEKDAYS, Kind
from gateway.core.condition_tokens import ConditionInvalid

Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Literal:
    """A tuple is a list in the text; `kind` is then the kind of its items."""

    value: Scalar | tuple[Scalar, ...]
    kind: Kind
    offset: int

    @property
    def items(self) -> tuple[Scalar, ...]:
        return self.value if isinstance(self.value, tuple) else (self.value,)


@dataclass(frozen=True, slots=True)
class Attribute:
    path: tuple[str, ...]
    kind: Kind
    offset: int

    @property
    def name(self) -> str:
        return ".".join(self.path)


Operand = Attribute | Literal


@dataclass(frozen=True, slots=True)
class Comparison:
    operator: str
    left: Operand
    right: Operand


def checked_truth(operand: Operand) -> Attribute:
    if isinstance(operand, Literal):
        raise ConditionInvalid("a value alone is not a condition", operand.offset, "compare it with an attribute")
    if operand.kind not in (Kind.BOOLEAN, Kind.ANY):
        raise ConditionInvalid(f"{operand.name} is {operand.kind.value}, not a condition", operand.offset, "compare it")
    return operand


def checked_comparison(operator: str, offset: int, left: Operand, right: Operand) -> Comparison:
    if isinstance(left, Literal) and isinstance(right, Literal):
        raise ConditionInvalid("this compares two constants", left.offset, "compare an attribute with a value")
    if isinstance(left, Literal) and isinstance(left.value, tuple):
        raise ConditionInvalid("a list belongs on the right of `in`", left.offset, "write `attribute in [...]`")
    if operator in ("in", "not in"):
        _check_membership(left, right)
    else:
        _check_comparison(operator, offset, left, right)
    return Comparison(operator, left, right)


def _check_membership(left: Operand, right: Operand) -> None:
    is_list = isinstance(right, Literal) and isinstance(right.value, tuple)
    if not is_list and right.kind not in (Kind.STRINGS, Kind.ANY):
        raise ConditionInvalid("a list belongs on the right of `in`", right.offset, "write [...], or == for one value")
    if left.kind is Kind.STRINGS:
        raise ConditionInvalid(f"{_say(left)} is no item of a list", left.offset, "write 'name' in user.groups")
    _check_kinds(left, right, Kind.STRING if right.kind is Kind.STRINGS else right.kind)


def _check_comparison(operator: str, offset: int, left: Operand, right: Operand) -> None:
    for operand in (left, right):
        if operand.kind is Kind.STRINGS or (isinstance(operand, Literal) and isinstance(operand.value, tuple)):
            raise ConditionInvalid(f"a list cannot be compared with {operator}", operand.offset, "write `in`")
    _check_kinds(left, right, right.kind)
    kinds = {left.kind, right.kind}
    if operator not in ("==", "!=") and Kind.DATE not in kinds and not kinds <= {Kind.NUMBER, Kind.ANY}:
        raise ConditionInvalid(f"{operator} compares numbers and dates only", offset, "write == or in")


def _check_kinds(left: Operand, right: Operand, right_kind: Kind) -> None:
    if Kind.ANY in (left.kind, right_kind) or left.kind is right_kind:
        return
    for attribute, literal in ((left, right), (right, left)):
        if isinstance(literal, Literal) and literal.kind is Kind.STRING and attribute.kind in (Kind.DATE, Kind.WEEKDAY):
            _check_calendar_words(attribute.kind, literal)
            return
    raise ConditionInvalid(
        f"{_say(left)} cannot be compared with {_say(right)}", right.offset, f"write {left.kind.value} here"
    )


def _check_calendar_words(kind: Kind, literal: Literal) -> None:
    for word in literal.items:
        if kind is Kind.WEEKDAY and word not in WEEKDAYS:
            raise ConditionInvalid(f"{word!r} is no weekday", literal.offset, f"one of {', '.join(WEEKDAYS)}")
        if kind is Kind.DATE and not is_date(str(word)):
            raise ConditionInvalid(f"{word!r} is no date", literal.offset, "write it as '2026-01-31'")


def is_date(text: str) -> bool:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _say(operand: Operand) -> str:
    if isinstance(operand, Attribute):
        return f"{operand.name} ({operand.kind.value})"
    return "a list" if isinstance(operand.value, tuple) else operand.kind.value
