"""Usage: the inclusive convention, and reports that are believed or refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.usage import TOKENS_MAX, Usage, UsageInvalid, from_openai, largest_report


def _report(prompt: object, completion: object, **details: object) -> dict[str, object]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, **details}


@pytest.mark.parametrize(
    ("report", "usage"),
    [
        (None, None),
        ({}, None),
        ({"prompt_tokens": None, "completion_tokens": 3}, None),
        (_report(10, 5, total_tokens=15), Usage(10, 0, 0, 5, 0)),
        (_report(0, 0, total_tokens=0), Usage(0, 0, 0, 0, 0)),
        ({"prompt_tokens": 8, "total_tokens": 8}, Usage(8, 0, 0, 0, 0)),
        (_report(10, 5, prompt_tokens_details=None, completion_tokens_details={}), Usage(10, 0, 0, 5, 0)),
        (_report(10, 5, prompt_tokens_details={"cached_tokens": None}), Usage(10, 0, 0, 5, 0)),
        (
            _report(
                1000,
                300,
                total_tokens=1300,
                prompt_tokens_details={"cached_tokens": 600, "cache_write_tokens": 300, "audio_tokens": 50},
                completion_tokens_details={
                    "reasoning_tokens": 200,
                    "audio_tokens": 40,
                    "accepted_prediction_tokens": 3,
                },
            ),
            Usage(1000, 600, 300, 300, 200, 50, 40),
        ),
        # Reasoning left out of completion_tokens, as some compatible servers do.
        (
            _report(100, 20, total_tokens=420, completion_tokens_details={"reasoning_tokens": 300}),
            Usage(100, 0, 0, 320, 300),
        ),
        # A total below the sum of its parts is no reason to bill less.
        (_report(100, 20, total_tokens=5), Usage(100, 0, 0, 20, 0)),
        (_report(100, 20, prompt_tokens_details={"cached_tokens": 150}), Usage(100, 100, 0, 20, 0, clamped=True)),
        (
            _report(100, 20, prompt_tokens_details={"cached_tokens": 80, "cache_write_tokens": 60}),
            Usage(100, 40, 60, 20, 0, clamped=True),
        ),
        (
            _report(100, 20, completion_tokens_details={"reasoning_tokens": 30}),
            Usage(100, 0, 0, 20, 20, clamped=True),
        ),
    ],
)
def test_openai_reports(report: object, usage: Usage | None) -> None:
    assert from_openai(report) == usage


@pytest.mark.parametrize("bad", [-1, 1.0, 2.5, True, False, "7", [], {}, TOKENS_MAX + 1, float("nan")])
@pytest.mark.parametrize(
    "place",
    [
        lambda bad: _report(bad, 5),
        lambda bad: _report(10, bad),
        lambda bad: _report(10, 5, total_tokens=bad),
        lambda bad: _report(10, 5, prompt_tokens_details={"cached_tokens": bad}),
        lambda bad: _report(10, 5, prompt_tokens_details={"cache_write_tokens": bad}),
        lambda bad: _report(10, 5, completion_tokens_details={"reasoning_tokens": bad}),
    ],
)
def test_absurd_figures_are_refused(bad: object, place: Any) -> None:
    with pytest.raises(UsageInvalid):
        from_openai(place(bad))


@pytest.mark.parametrize("report", [[], "10", 7, True, _report(1, 1, prompt_tokens_details=[1])])
def test_what_is_no_object_is_refused(report: object) -> None:
    with pytest.raises(UsageInvalid):
        from_openai(report)


def test_rule_25_tokens_include_the_cache_and_uncached_tokens_leave_cache_reads_out() -> None:
    usage = Usage(1000, 600, 300, 200, 150)
    assert usage.total_tokens == 1200
    assert usage.uncached_tokens == 600


@pytest.mark.parametrize("counts", [(10, 11, 0, 0, 0), (10, 6, 5, 0, 0), (10, 0, 0, 5, 6), (-1, 0, 0, 0, 0)])
def test_an_inconsistent_usage_cannot_be_made(counts: tuple[int, int, int, int, int]) -> None:
    with pytest.raises(UsageInvalid):
        Usage(*counts)


def test_of_two_anthropic_reports_each_larger_figure_wins() -> None:
    start, delta = Usage(1000, 400, 0, 1, 0), Usage(900, 0, 500, 70, 20)
    assert largest_report(start, delta) == Usage(1000, 400, 500, 70, 20)
    assert largest_report(start, None) == start
    assert largest_report(None, delta) == delta


tokens = st.integers(0, TOKENS_MAX)
reports = st.builds(
    _report,
    tokens,
    tokens,
    total_tokens=st.none() | tokens,
    prompt_tokens_details=st.fixed_dictionaries(
        {"cached_tokens": tokens, "cache_write_tokens": tokens, "audio_tokens": tokens}
    ),
    completion_tokens_details=st.fixed_dictionaries({"reasoning_tokens": tokens}),
)


@given(reports)
def test_no_report_is_read_as_less_than_it_says(report: dict[str, Any]) -> None:
    usage = from_openai(report)
    assert usage is not None
    assert usage.input_tokens == report["prompt_tokens"]
    assert usage.output_tokens >= report["completion_tokens"]
    assert usage.total_tokens >= (report["total_tokens"] or 0)
    parts = {
        "cached_tokens": usage.cached_input_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "audio_tokens": usage.audio_input_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
    }
    assert usage.clamped == (parts != report["prompt_tokens_details"] | report["completion_tokens_details"])
