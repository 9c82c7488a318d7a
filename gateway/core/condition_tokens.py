"""The words of the condition language, and what a person most often writes instead of them."""

import re
from dataclasses import dataclass
from enum import StrEnum

CHARACTERS_MAX = 2_000
NUMBER_DIGITS_MAX = 15


class ConditionInvalid(ValueError):
    """A condition that is not in the language. `offset` counts characters of its text from 0."""

    def __init__(self, message: str, offset: int, fix: str) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.fix = fix


class TokenKind(StrEnum):
    NAME = "name"
    STRING = "string"
    NUMBER = "number"
    SYMBOL = "symbol"
    END = "end"


@dataclass(frozen=True, slots=True)
class Token:
    """`text` of a string is what it says, without quotes and escapes."""

    kind: TokenKind
    text: str
    offset: int


_NAME = re.compile(r"[A-Za-z_](?:[A-Za-z0-9_]|-(?=[A-Za-z0-9_]))*")
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_SYMBOLS = ("==", "!=", "<=", ">=", "<", ">", "(", ")", "[", "]", ",", ".")
# Longest first: the fix must speak about the whole slip.
_SLIPS = (
    ("&&", "write `and`"),
    ("||", "write `or`"),
    ("=~", "there are no regular expressions; write == or in"),
    ("=", "write =="),
    ("!", "write `not`"),
    ("&", "write `and`"),
    ("|", "write `or`"),
    ("'", "close the string"),
    ('"', "close the string"),
)


def tokens_of(text: str) -> list[Token]:
    """Raises ConditionInvalid. The last token is always END."""
    if len(text) > CHARACTERS_MAX:
        raise ConditionInvalid(f"the condition is longer than {CHARACTERS_MAX} characters", 0, "use several rows")
    tokens: list[Token] = []
    position = 0
    while position < len(text):
        if text[position] == " ":
            position += 1
            continue
        token, position = _next_token(text, position)
        tokens.append(token)
    tokens.append(Token(TokenKind.END, "", len(text)))
    return tokens


def _next_token(text: str, start: int) -> tuple[Token, int]:
    first = text[start]
    if first in "'\"":
        return _string(text, start)
    if name := _NAME.match(text, start):
        return Token(TokenKind.NAME, name.group(), start), name.end()
    if number := _NUMBER.match(text, start):
        return _number(text, start, number)
    for symbol in _SYMBOLS:
        if text.startswith(symbol, start):
            return Token(TokenKind.SYMBOL, symbol, start), start + len(symbol)
    for slip, fix in _SLIPS:
        if text.startswith(slip, start):
            raise ConditionInvalid(f"{slip} is not part of the language", start, fix)
    raise ConditionInvalid(f"stray character {first!r}", start, "remove it")


def _number(text: str, start: int, found: re.Match[str]) -> tuple[Token, int]:
    end = found.end()
    if sum(map(str.isdigit, found.group())) > NUMBER_DIGITS_MAX:
        raise ConditionInvalid("the number is too long", start, f"use at most {NUMBER_DIGITS_MAX} digits")
    if end < len(text) and (text[end].isalnum() or text[end] in "_."):
        raise ConditionInvalid("this is neither a number nor a name", start, "write a plain decimal number such as 0.8")
    return Token(TokenKind.NUMBER, found.group(), start), end


def _string(text: str, start: int) -> tuple[Token, int]:
    quote = text[start]
    said: list[str] = []
    position = start + 1
    while position < len(text):
        character = text[position]
        if character == quote:
            return Token(TokenKind.STRING, "".join(said), start), position + 1
        if character == "\\":
            position += 1
            character = text[position : position + 1]
            if character not in ("\\", "'", '"'):
                raise ConditionInvalid("unknown escape", position - 1, "only \\\\, \\' and \\\" are escapes")
        elif not character.isprintable():
            raise ConditionInvalid("control character in a string", position, "remove it")
        said.append(character)
        position += 1
    raise ConditionInvalid("the string is not closed", start, f"close it with {quote}")
