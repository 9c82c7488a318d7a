"""The strict reading of JSON: what is refused, where, and how tokens are counted."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.strict_json import JsonRefused, check_shape, check_token_count, parse, token_bound, token_count

TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[-+.0-9eE]+|true|false|null|[{}\[\]:,]', re.DOTALL)

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    # Hypothesis leaves surrogates out of st.text only on request; JSON text cannot hold a lone one.
    | st.text(st.characters(codec="utf-8")),
    lambda children: st.lists(children) | st.dictionaries(st.text(st.characters(codec="utf-8")), children),
    max_leaves=30,
)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b' {"a" : [1, -2.5, true, null, "x"]}\r\n', {"a": [1, -2.5, True, None, "x"]}),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        ('"\U0001f600"'.encode(), "\U0001f600"),
        (b"18446744073709551615", 2**64 - 1),
        (b"-9223372036854775808", -(2**63)),
        (b"1e-999", 0.0),
        (b"0.1234567890123456789012345678901234567", 0.12345678901234568),
        (b'{"a":{"a":1},"b":{"a":2}}', {"a": {"a": 1}, "b": {"a": 2}}),
        (b"[" * 64 + b"]" * 64, json.loads("[" * 64 + "]" * 64)),
        (b'"' + b"[" * 200 + b'"', "[" * 200),
        (b'"\\\\ud800"', "\\ud800"),
    ],
)
def test_rule_34_well_formed_bodies_are_read(body: bytes, value: object) -> None:
    assert parse(body) == value


@pytest.mark.parametrize(
    ("body", "message", "offset"),
    [
        (b"", "invalid JSON", 0),
        (b"{", "invalid JSON", 1),
        (b"[1,]", "invalid JSON", 3),
        (b"{'a':1}", "invalid JSON", 1),
        (b"[1] 2", "invalid JSON", 4),
        (b"01", "invalid JSON", 1),
        (b'"a\tb"', "invalid JSON", 2),
        ('["é" x]'.encode(), "invalid JSON", 6),
        (b"\xef\xbb\xbf{}", "starts with a byte order mark", 0),
        (b'"\xff"', "invalid UTF-8", 1),
        (b'"\xed\xa0\x80"', "invalid UTF-8", 1),
        (b'"\xc0\xaf"', "invalid UTF-8", 1),
        (b'{"a":1,"a":1}', "an object holds the same key twice", None),
        (b'[{"b":{"a":1,"\\u0061":2}}]', "an object holds the same key twice", None),
        (b"NaN", "NaN is not JSON", None),
        (b"[Infinity]", "Infinity is not JSON", None),
        (b'{"a":-Infinity}', "-Infinity is not JSON", None),
        (b"1e999", "a number is too large for a double", None),
        (b"18446744073709551616", "an integer does not fit in 64 bits", None),
        (b"-9223372036854775809", "an integer does not fit in 64 bits", None),
        (b"1" * 5000, "an integer does not fit in 64 bits", None),
        (b"0." + b"1" * 40, "a number has more than 40 characters", None),
        (b'"\\ud800"', "a string holds half of a surrogate pair", None),
        (b'"\\uDC00\\uD800"', "a string holds half of a surrogate pair", None),
        (b'{"\\udfff":1}', "a string holds half of a surrogate pair", None),
        (b"[" * 65 + b"]" * 65, "nested deeper than 64 levels", None),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "nested deeper than 64 levels", None),
        (b"[" * 90_000, "nested too deeply", None),
        (b"[" * 45_000 + b"]" * 45_000, "nested too deeply", None),
        (b"[" + b"1," * 60_000 + b"1]", "more than 100000 JSON tokens", None),
    ],
)
def test_rule_34_what_could_be_read_in_two_ways_is_refused(body: bytes, message: str, offset: int | None) -> None:
    with pytest.raises(JsonRefused) as refused:
        parse(body)
    assert refused.value.message == message
    assert refused.value.offset == offset


def test_the_bounds_can_be_set() -> None:
    assert parse(b"[[1]]", depth_max=2, tokens_max=5) == [[1]]
    with pytest.raises(JsonRefused, match="deeper than 1"):
        parse(b"[[1]]", depth_max=1)
    with pytest.raises(JsonRefused, match="more than 4"):
        parse(b"[[1]]", tokens_max=4)


def test_rule_34_only_tokens_outside_of_strings_count() -> None:
    text = json.dumps({"messages": ["{[,:]}\\" * 50_000, '"' * 50_000]}).encode()
    assert token_count(text) == 9
    assert parse(text)["messages"][1] == '"' * 50_000


def test_rule_34_a_body_of_too_many_tokens_is_refused_before_it_is_read() -> None:
    # Broken at its end: a parser would say so, the count comes first.
    with pytest.raises(JsonRefused, match="more than 100000 JSON tokens"):
        parse(b"[" + b"{}," * 40_000 + b"!")


@given(json_values, st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t: ")]), st.booleans())
def test_the_token_count_is_that_of_a_lexer(value: object, separators: tuple[str, str], ascii_only: bool) -> None:
    body = json.dumps(value, separators=separators, ensure_ascii=ascii_only).encode()
    exact = len(TOKEN.findall(body))
    assert token_count(body) == exact
    assert token_bound(body) >= exact
    check_token_count(body, exact)
    check_shape(value, tokens_max=exact)
    with pytest.raises(JsonRefused):
        check_token_count(body, exact - 1)
    if isinstance(value, dict | list):
        with pytest.raises(JsonRefused, match=f"more than {exact - 1} JSON tokens"):
            check_shape(value, tokens_max=exact - 1)


@given(json_values, st.booleans())
def test_what_is_accepted_is_what_was_written(value: object, ascii_only: bool) -> None:
    assert parse(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(st.binary())
def test_arbitrary_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        value = parse(body)
    except JsonRefused as error:
        offset = error.offset or 0
    else:
        offset = 0
        assert value == json.loads(body)
    assert 0 <= offset <= len(body)
