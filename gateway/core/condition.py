"""Conditions of policy rows: compiled once, evaluated to true, false or unknown.

Kleene's logic over 0 (false), 1 (unknown), 2 (true): `and` is the least, `or` the greatest, `not` turns it round.
Rule: what is unknown at the top is false for an allow row and true for a deny row. While tools are listed their
arguments are not known yet: a row on them counts as the arguments that would let the call pass make it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from gateway.core.condition_context import OF_PAIR, OF_PRINCIPAL, PolicyContext
from gateway.core.condition_parser import And, Not, Or, Term, Truth, parse_condition
from gateway.core.condition_schema import Kind
from gateway.core.condition_types import Attribute, Comparison, Literal, is_date
from gateway.core.condition_values import Reader, family_of, reader_of

_FALSE, _UNKNOWN, _TRUE = 0, 1, 2

Evaluator = Callable[[PolicyContext], int]


class Outcome(IntEnum):
    FALSE = _FALSE
    UNKNOWN = _UNKNOWN
    TRUE = _TRUE


@dataclass(frozen=True, slots=True)
class Condition:
    """`evaluate` gives 0, 1 or 2. `at_best` and `at_worst` do the same with every comparison of a tool argument taken
    as it makes the whole most and least true."""

    text: str
    attributes: tuple[Attribute, ...]
    evaluate: Evaluator
    at_best: Evaluator
    at_worst: Evaluator
    reads_args: bool
    reads_pair: bool
    standing: bool
    """Reads nothing but who calls and which pair is judged, so that it says the same of every such call of a key."""

    def outcome(self, context: PolicyContext) -> Outcome:
        return Outcome(self.evaluate(context))

    def unknown_attributes(self, context: PolicyContext) -> tuple[str, ...]:
        """Names of the attributes that this context does not know, in the order of the text."""
        missing = [each.name for each in self.attributes if reader_of(each)(context) is None]
        return tuple(dict.fromkeys(missing))

    def holds_for_allow(self, context: PolicyContext, listing: bool = False) -> bool:
        return (self.at_best if listing else self.evaluate)(context) == _TRUE

    def holds_for_deny(self, context: PolicyContext, listing: bool = False) -> bool:
        return (self.at_worst if listing else self.evaluate)(context) != _FALSE


def compile_condition(text: str) -> Condition:
    """Raises ConditionInvalid. An empty text is no condition; ask before."""
    term = parse_condition(text)
    attributes = tuple(_attributes_of(term))
    reads_args = any(attribute.path[0] == "args" for attribute in attributes)
    reads_pair = any(attribute.name in OF_PAIR for attribute in attributes)
    standing = all(attribute.path[0] in OF_PRINCIPAL or attribute.name in OF_PAIR for attribute in attributes)
    evaluate = _compiled(term, None)
    at_best = _compiled(term, _TRUE) if reads_args else evaluate
    at_worst = _compiled(term, _FALSE) if reads_args else evaluate
    return Condition(text, attributes, evaluate, at_best, at_worst, reads_args, reads_pair, standing)


def _attributes_of(term: Term) -> list[Attribute]:
    match term:
        case Truth(attribute):
            return [attribute]
        case Comparison(left=left, right=right):
            return [each for each in (left, right) if isinstance(each, Attribute)]
        case Not(inner):
            return _attributes_of(inner)
        case And(terms) | Or(terms):
            return [attribute for inner in terms for attribute in _attributes_of(inner)]


def _compiled(term: Term, args_as: int | None) -> Evaluator:
    """`args_as` is what a leaf that reads arguments evaluates to; None evaluates it."""
    match term:
        case Not(inner):
            negated = _compiled(inner, None if args_as is None else _TRUE - args_as)
            return lambda context: _TRUE - negated(context)
        case And(terms):
            return _least(tuple(_compiled(inner, args_as) for inner in terms))
        case Or(terms):
            return _greatest(tuple(_compiled(inner, args_as) for inner in terms))
        case Truth() | Comparison():
            if args_as is not None and any(each.path[0] == "args" for each in _attributes_of(term)):
                return lambda _context: args_as
            return _truth(term.attribute) if isinstance(term, Truth) else _comparison(term)


def _least(terms: tuple[Evaluator, ...]) -> Evaluator:
    def evaluate(context: PolicyContext) -> int:
        least = _TRUE
        for term in terms:
            value = term(context)
            if value == _FALSE:
                return _FALSE
            least = min(least, value)
        return least

    return evaluate


def _greatest(terms: tuple[Evaluator, ...]) -> Evaluator:
    def evaluate(context: PolicyContext) -> int:
        greatest = _FALSE
        for term in terms:
            value = term(context)
            if value == _TRUE:
                return _TRUE
            greatest = max(greatest, value)
        return greatest

    return evaluate


def _truth(attribute: Attribute) -> Evaluator:
    read = reader_of(attribute)

    def evaluate(context: PolicyContext) -> int:
        value = read(context)
        if type(value) is not bool:
            return _UNKNOWN
        return _TRUE if value else _FALSE

    return evaluate


def _comparison(comparison: Comparison) -> Evaluator:
    left, right = comparison.left, comparison.right
    if Kind.ANY in (left.kind, right.kind):
        return _compared(reader_of(left), reader_of(right), _COMPARE[comparison.operator])
    plain = _COMPARE_PLAIN[comparison.operator]
    if isinstance(right, Literal):
        return _compared_with(reader_of(left), right.value, plain)
    return _compared(reader_of(left), reader_of(right), plain)


def _compared(read_left: Reader, read_right: Reader, compare: Callable[[Any, Any], int]) -> Evaluator:
    def evaluate(context: PolicyContext) -> int:
        left = read_left(context)
        right = read_right(context)
        return _UNKNOWN if left is None or right is None else compare(left, right)

    return evaluate


def _compared_with(read_left: Reader, right: object, compare: Callable[[Any, Any], int]) -> Evaluator:
    """The usual one, for speed: an attribute with a value."""

    def evaluate(context: PolicyContext) -> int:
        left = read_left(context)
        return _UNKNOWN if left is None else compare(left, right)

    return evaluate


def _equal(left: object, right: object) -> int:
    family = family_of(left)
    if family != family_of(right) or family in ("list", "object"):
        return _UNKNOWN
    return _TRUE if left == right else _FALSE


def _unequal(left: object, right: object) -> int:
    return _TRUE - _equal(left, right)


def _less(left: object, right: object) -> int:
    """Numbers by value, dates by the calendar (their text orders as they do); all else is unknown."""
    if isinstance(left, str) and isinstance(right, str):
        if not (is_date(left) and is_date(right)):
            return _UNKNOWN
        return _TRUE if left < right else _FALSE
    if family_of(left) != "number" or family_of(right) != "number":
        return _UNKNOWN
    return _TRUE if left < right else _FALSE  # type: ignore[operator]


def _member(left: object, right: object) -> int:
    """Unknown where nothing is equal but something could not be compared."""
    if not isinstance(right, (list, tuple, frozenset)) or family_of(left) in ("list", "object"):
        return _UNKNOWN
    result = _FALSE
    for item in right:
        equal = _equal(left, item)
        if equal == _TRUE:
            return _TRUE
        result = max(result, equal)
    return result


# Where both types are known when the policy is read, a reader gives a value of that type or nothing.
_COMPARE_PLAIN: Mapping[str, Callable[[Any, Any], int]] = {
    "==": lambda left, right: _TRUE if left == right else _FALSE,
    "!=": lambda left, right: _TRUE if left != right else _FALSE,
    "<": lambda left, right: _TRUE if left < right else _FALSE,
    ">": lambda left, right: _TRUE if left > right else _FALSE,
    "<=": lambda left, right: _TRUE if left <= right else _FALSE,
    ">=": lambda left, right: _TRUE if left >= right else _FALSE,
    "in": lambda left, right: _TRUE if left in right else _FALSE,
    "not in": lambda left, right: _FALSE if left in right else _TRUE,
}

_COMPARE: Mapping[str, Callable[[object, object], int]] = {
    "==": _equal,
    "!=": _unequal,
    "<": _less,
    ">": lambda left, right: _less(right, left),
    "<=": lambda left, right: _TRUE - _less(right, left),
    ">=": lambda left, right: _TRUE - _less(left, right),
    "in": _member,
    "not in": lambda left, right: _TRUE - _member(left, right),
}
