"""The strict reading of JSON (SEMANTICS.md rule 34), and the cheap tests that come before any reading.

Rule: whatever two parsers could understand differently is refused: duplicate keys, NaN, numbers that do not fit, broken
text, lone surrogates, deep nesting. What is accepted survives writing and reading again unchanged.
The work is done by the C parts of `bytes` and `json`, because a body of megabytes is read on the event loop.
"""

import json
import math
from typing import Any

DEPTH_MAX = 64
TOKENS_MAX = 100_000
# Integers that every JSON writer of the gateway can write again: signed or unsigned 64 bit.
INTEGER_MIN = -(2**63)
INTEGER_MAX = 2**64 - 1
NUMBER_CHARACTERS_MAX = 40

_BRACKETS_COUNTED_BELOW_BYTES = 16 * 1024
_BOM = b"\xef\xbb\xbf"
_PUNCTUATION = b"{}[]:,"
# What tells where strings end and what stands between them: quotes, escapes, punctuation, and some character of every
# number and literal (each literal holds one of the letters that may follow a backslash). All else only fills strings.
_SKELETON = b'"\\/bfnrtu0123456789' + _PUNCTUATION
_FILLING = bytes(byte for byte in range(256) if byte not in _SKELETON)
_PUNCTUATION_TO_SPACE = bytes.maketrans(_PUNCTUATION, b" " * len(_PUNCTUATION))


class JsonRefused(ValueError):
    """A body that is not read. The message holds nothing of the body; `offset` is in bytes where it is known."""

    def __init__(self, message: str, offset: int | None = None) -> None:
        super().__init__(message if offset is None else f"{message} at byte {offset}")
        self.message = message
        self.offset = offset


def parse(body: bytes, *, depth_max: int = DEPTH_MAX, tokens_max: int = TOKENS_MAX) -> Any:
    """The value that a body stands for. Raises JsonRefused."""
    check_token_count(body, tokens_max)
    value = parse_screened(body)
    check_depth(body, value, depth_max)
    if b"\\ud" in body or b"\\uD" in body:
        _check_surrogates(value)
    return value


def parse_screened(body: bytes) -> Any:
    """As `parse`, for a body whose token count, depth and surrogates were found good by other means."""
    text = _text(body)
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise JsonRefused("invalid JSON", len(text[: error.pos].encode())) from None
    except RecursionError:
        raise JsonRefused("nested too deeply") from None


def token_count(body: bytes) -> int:
    """Punctuation, strings, numbers, literals of a well-formed body; of a broken one, those before the fault.

    Dropping the filling keeps every escape as a pair, so pairs can then be dropped blindly and each quote left is real.
    """
    skeleton = body.translate(None, _FILLING)
    if b"\\\\" in skeleton:
        skeleton = skeleton.replace(b"\\\\", b"")
    parts = skeleton.replace(b'\\"', b"").split(b'"')
    outside = b" ".join(parts[::2])
    scalars = outside.translate(_PUNCTUATION_TO_SPACE).split()
    punctuation = len(outside) - len(outside.translate(None, _PUNCTUATION))
    return punctuation + len(parts) // 2 + len(scalars)


def check_token_count(body: bytes, tokens_max: int = TOKENS_MAX) -> None:
    """Raises JsonRefused for a body of too many tokens. Cheap upper bounds spare most bodies the exact count."""
    if token_bound(body, tokens_max) > tokens_max and token_count(body) > tokens_max:
        raise JsonRefused(f"more than {tokens_max} JSON tokens")


def token_bound(body: bytes, tokens_max: int = TOKENS_MAX) -> int:
    """At least as many tokens as the body has, whatever its strings hold; its length where that is few enough."""
    if len(body) <= tokens_max:
        return len(body)
    # Every string, number or literal but one has a punctuation mark of its own beside it.
    return 2 * (len(body) - len(body.translate(None, _PUNCTUATION))) + 1


def check_depth(body: bytes, value: Any, depth_max: int = DEPTH_MAX) -> None:
    """Raises JsonRefused if the value read from this body is nested too deeply; a bare scalar has depth 0."""
    # Counting brackets is the quicker way out for a small body, walking the value for a long text.
    if len(body) >= _BRACKETS_COUNTED_BELOW_BYTES or body.count(b"[") + body.count(b"{") > depth_max:
        check_shape(value, depth_max)


def check_shape(value: Any, depth_max: int = DEPTH_MAX, tokens_max: int = TOKENS_MAX) -> None:
    """Raises JsonRefused for a value of too much depth or too many tokens, counted as in the body that it was read
    from: that is quicker than lexing a long text full of escapes."""
    level = [value] if isinstance(value, dict | list) else []
    tokens = depth = 0
    while level:
        depth += 1
        if depth > depth_max:
            raise JsonRefused(f"nested deeper than {depth_max} levels")
        # Brackets, a comma between each two, the members; in an object a name and a colon for each.
        tokens += sum(2 * len(at) + (2 * len(at) if type(at) is dict else 0) + (1 if at else 2) for at in level)
        if tokens > tokens_max:
            raise JsonRefused(f"more than {tokens_max} JSON tokens")
        level = _containers_in(level)
        tokens -= len(level)  # a member that is a container is counted as one


def _containers_in(level: list[Any]) -> list[Any]:
    return [
        child
        for parent in level
        for child in (parent.values() if type(parent) is dict else parent)
        if type(child) is dict or type(child) is list
    ]


def _text(body: bytes) -> str:
    if body.startswith(_BOM):
        raise JsonRefused("starts with a byte order mark", 0)
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise JsonRefused("invalid UTF-8", error.start) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise JsonRefused("an object holds the same key twice")
    return value


def _integer(text: str) -> int:
    if len(text) <= NUMBER_CHARACTERS_MAX:
        value = int(text)
        if INTEGER_MIN <= value <= INTEGER_MAX:
            return value
    raise JsonRefused("an integer does not fit in 64 bits")


def _float(text: str) -> float:
    if len(text) > NUMBER_CHARACTERS_MAX:
        raise JsonRefused(f"a number has more than {NUMBER_CHARACTERS_MAX} characters")
    value = float(text)
    if math.isinf(value):
        raise JsonRefused("a number is too large for a double")
    return value


def _constant(name: str) -> None:
    raise JsonRefused(f"{name} is not JSON")


def _check_surrogates(value: Any) -> None:
    # Raw ones are invalid UTF-8 and refused before; an escaped one shows when the value is written as UTF-8.
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise JsonRefused("a string holds half of a surrogate pair") from None


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant, strict=True
)
