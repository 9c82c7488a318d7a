"""From the text of a condition to its tree, types checked.

    condition  = conjunction { "or" conjunction }
    conjunction = negation { "and" negation }
    negation   = "not" negation | "(" condition ")" | comparison
    comparison = operand [ ("==" | "!=" | "<" | "<=" | ">" | ">=" | "in" | "not" "in") operand ]
    operand    = attribute | string | number | "true" | "false" | "[" literal { "," literal } "]"

Rule: a tree that comes out of here can always be evaluated; nothing of Python is ever evaluated.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.core.condition_schema import Kind, fix_for, kind_of
from gateway.core.condition_tokens import ConditionInvalid, Token, TokenKind, tokens_of
from gateway.core.condition_types import Attribute, Comparison, Literal, Operand, checked_comparison, checked_truth

DEPTH_MAX = 32
LIST_ITEMS_MAX = 500
_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
_WORDS = ("and", "or", "not", "in", "true", "false")
_SLIPS: Mapping[str, str] = {
    "AND": "write `and`",
    "OR": "write `or`",
    "NOT": "write `not`",
    "IN": "write `in`",
    "True": "write `true`",
    "False": "write `false`",
    "None": "there is no empty value; a missing attribute is unknown",
    "null": "there is no empty value; a missing attribute is unknown",
    "is": "write ==",
}


@dataclass(frozen=True, slots=True)
class Truth:
    """An attribute that is itself true or false."""

    attribute: Attribute


@dataclass(frozen=True, slots=True)
class Not:
    term: "Term"


@dataclass(frozen=True, slots=True)
class And:
    terms: "tuple[Term, ...]"


@dataclass(frozen=True, slots=True)
class Or:
    terms: "tuple[Term, ...]"


Term = Comparison | Truth | Not | And | Or


def parse_condition(text: str) -> Term:
    """Raises ConditionInvalid with the offset of what is wrong."""
    parser = _Parser(tokens_of(text))
    term = parser.condition(0)
    parser.expect_end()
    return term


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._position = 0

    @property
    def _token(self) -> Token:
        return self._tokens[self._position]

    def _take(self) -> Token:
        token = self._token
        self._position += 1
        return token

    def _next_is(self, kind: TokenKind, *texts: str) -> bool:
        return self._token.kind is kind and self._token.text in texts

    def _take_if(self, kind: TokenKind, text: str) -> bool:
        if self._next_is(kind, text):
            self._position += 1
            return True
        return False

    def _expect_symbol(self, symbol: str, message: str) -> None:
        if not self._take_if(TokenKind.SYMBOL, symbol):
            raise ConditionInvalid(message, self._token.offset, f"add {symbol}")

    def expect_end(self) -> None:
        token = self._token
        if token.kind is TokenKind.END:
            return
        if self._next_is(TokenKind.SYMBOL, *_COMPARISONS) or self._next_is(TokenKind.NAME, "in"):
            raise ConditionInvalid("comparisons cannot be chained", token.offset, "join two comparisons with `and`")
        if self._next_is(TokenKind.SYMBOL, "("):
            raise ConditionInvalid("there are no functions", token.offset, "compare attributes with == < in ...")
        fix = _SLIPS.get(token.text, "join terms with `and` or `or`, or remove it")
        raise ConditionInvalid(f"{token.text!r} is not expected here", token.offset, fix)

    def condition(self, depth: int) -> Term:
        terms = [self._conjunction(depth)]
        while self._take_if(TokenKind.NAME, "or"):
            terms.append(self._conjunction(depth))
        return terms[0] if len(terms) == 1 else Or(tuple(terms))

    def _conjunction(self, depth: int) -> Term:
        terms = [self._negation(depth)]
        while self._take_if(TokenKind.NAME, "and"):
            terms.append(self._negation(depth))
        return terms[0] if len(terms) == 1 else And(tuple(terms))

    def _negation(self, depth: int) -> Term:
        if depth >= DEPTH_MAX:
            raise ConditionInvalid("the condition is nested too deeply", self._token.offset, "use several rows")
        if self._take_if(TokenKind.NAME, "not"):
            return Not(self._negation(depth + 1))
        if self._take_if(TokenKind.SYMBOL, "("):
            term = self.condition(depth + 1)
            self._expect_symbol(")", "the parenthesis is not closed")
            return term
        return self._comparison()

    def _comparison(self) -> Term:
        left = self._operand()
        operator = self._token
        if self._next_is(TokenKind.SYMBOL, *_COMPARISONS) or self._next_is(TokenKind.NAME, "in"):
            self._position += 1
            return checked_comparison(operator.text, operator.offset, left, self._operand())
        if self._take_if(TokenKind.NAME, "not"):
            if not self._take_if(TokenKind.NAME, "in"):
                raise ConditionInvalid("`not` is not expected here", operator.offset, "write `not in` or `and not`")
            return checked_comparison("not in", operator.offset, left, self._operand())
        return Truth(checked_truth(left))

    def _operand(self) -> Operand:
        token = self._token
        if token.kind is TokenKind.NAME and token.text not in _WORDS:
            return self._attribute()
        if self._take_if(TokenKind.SYMBOL, "["):
            return self._list(token.offset)
        return self._literal()

    def _literal(self) -> Literal:
        token = self._take()
        if token.kind is TokenKind.STRING:
            return Literal(token.text, Kind.STRING, token.offset)
        if token.kind is TokenKind.NUMBER:
            number = float(token.text) if "." in token.text else int(token.text)
            return Literal(number, Kind.NUMBER, token.offset)
        if token.kind is TokenKind.NAME and token.text in ("true", "false"):
            return Literal(token.text == "true", Kind.BOOLEAN, token.offset)
        if token.kind is TokenKind.END:
            raise ConditionInvalid("the condition ends too early", token.offset, "finish the comparison")
        raise ConditionInvalid(f"{token.text!r} is not expected here", token.offset, "write an attribute or a value")

    def _list(self, offset: int) -> Literal:
        items: list[Literal] = []
        while True:
            items.append(self._literal())
            if len(items) > LIST_ITEMS_MAX:
                raise ConditionInvalid(f"a list has at most {LIST_ITEMS_MAX} items", offset, "use several rows")
            if not self._take_if(TokenKind.SYMBOL, ","):
                break
        self._expect_symbol("]", "the list is not closed")
        for item in items:
            if item.kind is not items[0].kind:
                raise ConditionInvalid("a list holds values of one type", item.offset, f"write {items[0].kind.value}")
        return Literal(tuple(item.value for item in items), items[0].kind, offset)  # type: ignore[misc]

    def _attribute(self) -> Attribute:
        first = self._take()
        if first.text in _SLIPS:
            raise ConditionInvalid(f"{first.text!r} is not part of the language", first.offset, _SLIPS[first.text])
        path = [first.text]
        while True:
            if self._take_if(TokenKind.SYMBOL, "."):
                step = self._take()
                if step.kind is not TokenKind.NAME:
                    raise ConditionInvalid("a name is missing after the dot", step.offset, "finish the attribute")
            elif self._take_if(TokenKind.SYMBOL, "["):
                step = self._take()
                if step.kind is not TokenKind.STRING:
                    raise ConditionInvalid("only a quoted name goes into [ ]", step.offset, 'write ["name"]')
                self._expect_symbol("]", "the bracket is not closed")
            else:
                break
            path.append(step.text)
        if self._next_is(TokenKind.SYMBOL, "("):
            raise ConditionInvalid("there are no functions", self._token.offset, "compare attributes with == < in ...")
        kind = kind_of(tuple(path))
        if kind is None:
            raise ConditionInvalid(f"unknown attribute {'.'.join(path)}", first.offset, fix_for(tuple(path)))
        return Attribute(tuple(path), kind, first.offset)
