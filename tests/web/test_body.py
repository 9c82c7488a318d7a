"""The fast reading of JSON bodies agrees with the strict one on every body, and is fast."""

import json
import time
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.core import strict_json
from gateway.core.strict_json import JsonRefused
from gateway.web.body import parse_json

NUMBERS = ["0", "-0", "-0.0", "1", "1.0", "1e5", "1E6", "0.10", "1e22", "1e-7", "123456789012345678901", "1e400"]
STRINGS = ['""', '"a"', '"\\u0061"', '"\\/"', '"\\ud83d\\ude00"', '"\\ud83d"', '"é"', '"\\u00e9"', '"\\n"', '"\\u000a"']
STRINGS += ['"\\u007f"', '"\\\\"', '"\\""', '"\u2028"', '"\\ud800\\u0041"', '"{,"']
spaces = st.sampled_from(["", "", "", " ", "\n"])


def _list(items: list[str], space: str) -> str:
    return "[" + f",{space}".join(items) + "]"


def _object(pairs: list[tuple[str, str]], space: str) -> str:
    return "{" + f",{space}".join(f"{key}:{space}{value}" for key, value in pairs) + "}"


# JSON as text rather than as values: odd spellings, duplicate keys and broken strings are what matters here.
documents = st.recursive(
    st.sampled_from([*NUMBERS, *STRINGS, "true", "null", "NaN", "tru"]),
    lambda children: (
        st.builds(_list, st.lists(children, max_size=4), spaces)
        | st.builds(_object, st.lists(st.tuples(st.sampled_from(STRINGS), children), max_size=4), spaces)
    ),
    max_leaves=12,
)


def _strictly(body: bytes) -> str:
    try:
        return repr(strict_json.parse(body))
    except JsonRefused:
        return "refused"


def _fast(body: bytes) -> str:
    try:
        return repr(parse_json(body))
    except JsonRefused:
        return "refused"


@settings(max_examples=400)
@given(documents)
@example('{"a":1,"a":1}')
@example('{"a":1,"a":1,"b":1E6}')
@example('{"a":18446744073709551616,"a":1}')
@example('{"a":"x","\\u0061":"x"}')
@example('{"a": 1, "a": 1}')
@example('{"a b": 1, "ab": 1}')
@example('{"a": 1 , "a" : 1, "b": 1E6}')
def test_rule_34_both_readings_agree(document: str) -> None:
    body = document.encode()
    # repr tells 1 from 1.0 and 0.0 from -0.0, which == does not.
    assert _fast(body) == _strictly(body)


@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_rule_34_both_readings_agree_on_noise(body: bytes) -> None:
    assert _fast(body) == _strictly(body)


def test_rule_34_a_dropped_duplicate_cannot_hide_behind_a_number_that_grows() -> None:
    body = b'{"a":1,"a":1,"b":1E6}'
    # The trap is real: what orjson writes is as long as what it read.
    assert len(orjson.dumps(orjson.loads(body))) == len(body)
    with pytest.raises(JsonRefused, match="same key twice"):
        parse_json(body)


def test_rule_34_what_was_parsed_can_be_forwarded() -> None:
    body = b'{"a": 18446744073709551615, "b": [1e5, "\\ud83d\\ude00", "\\/"]}'
    value = parse_json(body)
    assert strict_json.parse(orjson.dumps(value)) == value


@pytest.mark.parametrize("depth", [65, 200, 300, 1500, 40_000])
def test_rule_34_depth_bombs_are_refused(depth: int) -> None:
    with pytest.raises(JsonRefused, match="nested"):
        parse_json(b"[" * depth + b"]" * depth)


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")], ids=["compact", "spaced"])
def test_rule_34_a_megabyte_of_text_in_2000_messages_is_read_in_milliseconds(separators: tuple[str, str]) -> None:
    text = 'def total(rows): return sum(row["cost"] for row in rows)\n' * 9
    messages = [{"role": "user", "content": text[:500]} for _ in range(2000)]
    body = json.dumps({"model": "m", "messages": messages}, separators=separators).encode()
    # 5 ms is the rule where orjson alone takes 1 ms for it: a Python loop over the text takes 30 times as long.
    assert _shortest_s(parse_json, body) < 8 * _shortest_s(orjson.loads, body)


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")], ids=["compact", "spaced"])
def test_rule_34_a_body_of_too_many_tokens_is_refused(separators: tuple[str, str]) -> None:
    at_most = ["[]"] * 33_333  # brackets and commas: 100,000 tokens
    assert len(parse_json(f"[{separators[0].join(at_most)}]".encode())) == 33_333
    for more in (1, 100_000):
        with pytest.raises(JsonRefused, match="more than 100000 JSON tokens"):
            parse_json(f"[{separators[0].join([*at_most, *['1'] * more])}]".encode())


def _shortest_s(read: Callable[[bytes], Any], body: bytes) -> float:
    durations_s = []
    for _ in range(7):
        start_s = time.thread_time()
        read(body)
        durations_s.append(time.thread_time() - start_s)
    return min(durations_s)
