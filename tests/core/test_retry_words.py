"""Denials for opencode, which asks again wherever an error holds a number that looks like a status."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.retry_words import asks_again_at_numbers, quiet_figures, quiet_words

OPENCODE_LOOKS_FOR = re.compile(r"429|500|502|503|504|524")
"""As opencode 1.18.33 has it."""


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({"x-session-affinity": "ses_1"}, True),
        ({"user-agent": "opencode/1.18.33 ai-sdk/provider-utils"}, True),
        ({"user-agent": "codex_exec/0.169.0"}, False),
        ({}, False),
    ],
)
def test_which_client_it_is(headers: dict[str, str], *, found: bool) -> None:
    assert asks_again_at_numbers(headers) is found


@given(st.lists(st.sampled_from([*"0245 ,", "429", "500", "5024", "tokens "]), max_size=12).map("".join))
def test_no_number_in_the_words_looks_like_a_status_and_people_read_the_same(text: str) -> None:
    quiet = quiet_words(text)
    assert not OPENCODE_LOOKS_FOR.search(quiet)
    assert quiet.replace("\u2060", "") == text


@pytest.mark.parametrize(
    ("machine", "kept"),
    [
        ({"code": "budget_exhausted", "limit": {"limit": 1234}}, True),
        ({"code": "budget_exhausted", "limit": {"limit": 2_500_000}}, False),
        ({"code": "budget_exhausted", "call": "call_a5040"}, False),
    ],
)
def test_figures_that_look_like_a_status_are_left_out(machine: dict[str, Any], *, kept: bool) -> None:
    quiet = quiet_figures(machine)
    assert quiet == (machine if kept else {"code": "budget_exhausted"})
    assert not OPENCODE_LOOKS_FOR.search(json.dumps(quiet))
