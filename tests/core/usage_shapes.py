"""Shapes of usage reports as providers send them, and what each is worth: the golden table of usage.

A shape is the reports of one answer, in order, at their places in a stream of the format; the answer has three words.
`believed` is the usage that is booked, in the inclusive convention, written by hand from the provider's own reference;
None = there is no report that can be booked, so the answer is counted and the row is marked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.core.usage import Usage

FIRST, MIDDLE, LAST, LATE = "first", "middle", "last", "late"
"""Before the first word, between two words, with the end of the answer, and behind it."""


@dataclass(frozen=True, slots=True)
class Shape:
    name: str
    reports: tuple[tuple[str, Any], ...]
    believed: Usage | None
    bad: bool = False

    def __str__(self) -> str:
        return self.name


def last(name: str, report: Any, believed: Usage | None, *, bad: bool = False) -> Shape:
    return Shape(name, ((LAST, report),), believed, bad)


def inclusive(of_input: str, of_output: str) -> tuple[Shape, ...]:
    """What is the same in the two formats of OpenAI, whose figures have other names."""

    def report(given: object, made: object, total: object = None, **more: Any) -> dict[str, Any]:
        found = {of_input: given, of_output: made, "total_tokens": total, **more}
        return {name: value for name, value in found.items() if value is not None}

    def parts(**given: int) -> dict[str, Any]:
        return {f"{of_input}_details": given}

    def made(**given: int) -> dict[str, Any]:
        return {f"{of_output}_details": given}

    return (
        last("plain", report(11, 7, 18), Usage(11, 0, 0, 7, 0)),
        last("without a total", report(11, 7), Usage(11, 0, 0, 7, 0)),
        last("input and total only", report(11, None, 18), Usage(11, 0, 0, 7, 0)),
        last("output and total only", report(None, 7, 18), Usage(11, 0, 0, 7, 0)),
        last("explicit zeros", report(0, 0, 0), Usage(0, 0, 0, 0, 0)),
        last("zero output, said", report(11, 0, 11), Usage(11, 0, 0, 0, 0)),
        last("cache reads", report(100, 7, 107, **parts(cached_tokens=64)), Usage(100, 64, 0, 7, 0)),
        last("all of it cached", report(64, 7, 71, **parts(cached_tokens=64)), Usage(64, 64, 0, 7, 0)),
        last(
            "cache writes",
            report(100, 7, 107, **parts(cached_tokens=40, cache_write_tokens=50)),
            Usage(100, 40, 50, 7, 0),
        ),
        last("reasoning", report(11, 40, 51, **made(reasoning_tokens=33)), Usage(11, 0, 0, 40, 33)),
        last(
            "reasoning beside the output, in the total only",
            report(11, 7, 51, **made(reasoning_tokens=33)),
            Usage(11, 0, 0, 40, 33),
        ),
        last(
            "audio both ways",
            report(100, 50, 150, **parts(audio_tokens=80), **made(audio_tokens=45)),
            Usage(100, 0, 0, 50, 0, 80, 45),
        ),
        last(
            "audio, cache and reasoning",
            report(100, 50, 150, **parts(audio_tokens=30, cached_tokens=60), **made(reasoning_tokens=20)),
            Usage(100, 60, 0, 50, 20, 30),
        ),
        last("predictions", report(11, 40, 51, **made(rejected_prediction_tokens=9)), Usage(11, 0, 0, 40, 0)),
        last("details that are null", report(11, 7, 18) | {f"{of_input}_details": None}, Usage(11, 0, 0, 7, 0)),
        last("details that are empty", report(11, 7, 18, **parts(), **made()), Usage(11, 0, 0, 7, 0)),
        last("a cost that the provider names", report(11, 7, 18, cost=0.01), Usage(11, 0, 0, 7, 0)),
        last("a total below its parts", report(11, 7, 3), Usage(11, 0, 0, 7, 0)),
        last(
            "more cached than there was",
            report(11, 7, 18, **parts(cached_tokens=99)),
            Usage(11, 11, 0, 7, 0, clamped=True),
        ),
        last(
            "more reasoning than output",
            report(11, 7, 18, **made(reasoning_tokens=9)),
            Usage(11, 0, 0, 7, 7, clamped=True),
        ),
        last(
            "parts that are null",
            report(11, 7, 18) | {f"{of_input}_details": {"cached_tokens": None}},
            Usage(11, 0, 0, 7, 0),
        ),
        last(
            "all of the output is reasoning", report(11, 33, 44, **made(reasoning_tokens=33)), Usage(11, 0, 0, 33, 33)
        ),
        last("a total that is a word", report(11, 7, "18"), None, bad=True),
        last("a whole number written as a fraction", report(11.0, 7, 18), None, bad=True),
        last("null", None, None),
        last("an empty object", {}, None),
        last("input only", report(11, None), None),
        last("output only", report(None, 7), None),
        last("total only", report(None, None, 18), None),
        last("negative input", report(-11, 7, 18), None, bad=True),
        last("negative output", report(11, -7, 4), None, bad=True),
        last("negative cache reads", report(11, 7, 18, **parts(cached_tokens=-1)), None, bad=True),
        last("a fraction", report(11.5, 7, 18), None, bad=True),
        last("a word", report("11", 7, 18), None, bad=True),
        last("a truth value", report(True, 7, 18), None, bad=True),
        last("absurdly large", report(11, 10**12, 10**12), None, bad=True),
        last("a list", [11, 7], None, bad=True),
        last("a number", 18, None, bad=True),
        last("details that are no object", report(11, 7, 18) | {f"{of_input}_details": [1]}, None, bad=True),
    )


def _chat(given: int, made: int) -> dict[str, int]:
    return {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}


CHAT = (
    *inclusive("prompt_tokens", "completion_tokens"),
    Shape("never", (), None),
    Shape("in the middle only", ((MIDDLE, _chat(11, 3)),), None),
    Shape(
        "cumulative in every chunk",
        ((FIRST, _chat(11, 0)), (MIDDLE, _chat(11, 3)), (LAST, _chat(11, 7))),
        Usage(11, 0, 0, 7, 0),
    ),
    Shape("twice the same", ((LAST, _chat(11, 7)), (LAST, _chat(11, 7))), Usage(11, 0, 0, 7, 0)),
    Shape("twice, the second lower", ((LAST, _chat(11, 9)), (LAST, _chat(11, 7))), Usage(11, 0, 0, 7, 0)),
    Shape("behind the end", ((LATE, _chat(11, 7)),), Usage(11, 0, 0, 7, 0)),
    Shape("absurd, then true", ((MIDDLE, _chat(-1, 3)), (LAST, _chat(11, 7))), Usage(11, 0, 0, 7, 0)),
    Shape("true, then absurd", ((LAST, _chat(11, 7)), (LATE, _chat(-1, 7))), None, bad=True),
    Shape("true, then empty", ((LAST, _chat(11, 7)), (LATE, {})), Usage(11, 0, 0, 7, 0)),
)

RESPONSES = (*inclusive("input_tokens", "output_tokens"), Shape("never", (), None))


def _message(given: object, made: object, **more: Any) -> dict[str, Any]:
    return {"input_tokens": given, "output_tokens": made, **more}


_BY_LIFE = {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 30}


def _start(report: Any, *later: tuple[str, Any]) -> tuple[tuple[str, Any], ...]:
    return ((FIRST, report), *later)


MESSAGES = (
    Shape(
        "input at the start, output at the end",
        _start(_message(11, 1), (LAST, {"output_tokens": 7})),
        Usage(11, 0, 0, 7, 0),
    ),
    Shape("both at the end too", _start(_message(11, 1), (LAST, _message(11, 7))), Usage(11, 0, 0, 7, 0)),
    Shape("no output at the start", _start({"input_tokens": 11}, (LAST, {"output_tokens": 7})), Usage(11, 0, 0, 7, 0)),
    Shape("zeros at the start, all at the end", _start(_message(0, 0), (LAST, _message(11, 7))), Usage(11, 0, 0, 7, 0)),
    Shape("nothing at the start, all at the end", ((LAST, _message(11, 7)),), Usage(11, 0, 0, 7, 0)),
    Shape("null at the start, all at the end", _start(None, (LAST, _message(11, 7))), Usage(11, 0, 0, 7, 0)),
    Shape(
        "absurd at the start, all at the end", _start(_message(-1, 1), (LAST, _message(11, 7))), Usage(11, 0, 0, 7, 0)
    ),
    Shape("explicit zeros", _start(_message(0, 0), (LAST, _message(0, 0))), Usage(0, 0, 0, 0, 0)),
    Shape("zero output, said", _start(_message(11, 1), (LAST, _message(11, 0))), Usage(11, 0, 0, 1, 0)),
    Shape(
        "cache reads beside the input",
        _start(_message(11, 1, cache_read_input_tokens=64), (LAST, {"output_tokens": 7})),
        Usage(75, 64, 0, 7, 0),
    ),
    Shape(
        "all of it cached",
        _start(_message(0, 1, cache_read_input_tokens=64), (LAST, {"output_tokens": 7})),
        Usage(64, 64, 0, 7, 0),
    ),
    Shape(
        "cache writes",
        _start(_message(11, 1, cache_creation_input_tokens=50), (LAST, {"output_tokens": 7})),
        Usage(61, 0, 50, 7, 0),
    ),
    Shape(
        "cache writes of five minutes and of an hour",
        _start(_message(11, 1, cache_creation_input_tokens=50, cache_creation=_BY_LIFE), (LAST, {"output_tokens": 7})),
        Usage(61, 0, 50, 7, 0, cache_write_long_tokens=30),
    ),
    Shape(
        "cache writes by life only",
        _start(_message(11, 1, cache_creation=_BY_LIFE), (LAST, {"output_tokens": 7})),
        Usage(61, 0, 50, 7, 0, cache_write_long_tokens=30),
    ),
    Shape(
        "reads and writes, said twice",
        _start(
            _message(11, 1, cache_creation_input_tokens=50, cache_read_input_tokens=64),
            (LAST, _message(11, 7, cache_creation_input_tokens=50, cache_read_input_tokens=64)),
        ),
        Usage(125, 64, 50, 7, 0),
    ),
    Shape(
        "nulls in the end's report",
        _start(
            _message(11, 1, cache_read_input_tokens=64),
            (LAST, _message(None, 7, cache_read_input_tokens=None, server_tool_use=None)),
        ),
        Usage(75, 64, 0, 7, 0),
    ),
    Shape(
        "thinking",
        _start(_message(11, 1), (LAST, {"output_tokens": 40, "output_tokens_details": {"thinking_tokens": 33}})),
        Usage(11, 0, 0, 40, 33),
    ),
    Shape(
        "more thinking than output",
        _start(_message(11, 1), (LAST, {"output_tokens": 7, "output_tokens_details": {"thinking_tokens": 9}})),
        Usage(11, 0, 0, 7, 7, clamped=True),
    ),
    Shape("more input at the end", _start(_message(11, 1), (LAST, _message(15, 7))), Usage(15, 0, 0, 7, 0)),
    Shape("less input at the end", _start(_message(11, 1), (LAST, _message(5, 7))), Usage(11, 0, 0, 7, 0)),
    Shape(
        "a tier beside",
        _start(_message(11, 1, service_tier="standard"), (LAST, {"output_tokens": 7})),
        Usage(11, 0, 0, 7, 0),
    ),
    Shape(
        "two reports at the end",
        _start(_message(11, 1), (LAST, {"output_tokens": 5}), (LAST, {"output_tokens": 7})),
        Usage(11, 0, 0, 7, 0),
    ),
    Shape(
        "absurd, then true at the end",
        _start(_message(11, 1), (LAST, {"output_tokens": -5}), (LAST, {"output_tokens": 7})),
        Usage(11, 0, 0, 7, 0),
    ),
    Shape("never", (), None),
    Shape("null", _start(None, (LAST, None)), None),
    Shape("empty objects", _start({}, (LAST, {})), None),
    Shape("at the start only", _start(_message(11, 1)), None),
    Shape("output only", ((LAST, {"output_tokens": 7}),), None),
    Shape("empty at the start, output at the end", _start({}, (LAST, {"output_tokens": 7})), None),
    Shape("null input at the start, output at the end", _start(_message(None, 1), (LAST, {"output_tokens": 7})), None),
    Shape("input only", _start({"input_tokens": 11}, (LAST, {"input_tokens": 11})), None),
    Shape(
        "absurd at the start, output at the end", _start(_message(-1, 1), (LAST, {"output_tokens": 7})), None, bad=True
    ),
    Shape("absurd at the end", _start(_message(11, 1), (LAST, {"output_tokens": -7})), None, bad=True),
    Shape(
        "negative cache reads",
        _start(_message(11, 1, cache_read_input_tokens=-9), (LAST, {"output_tokens": 7})),
        None,
        bad=True,
    ),
    Shape("a fraction", _start(_message(11, 1), (LAST, _message(11.5, 7))), None, bad=True),
    Shape("a word", _start(_message("11", 1), (LAST, {"output_tokens": 7})), None, bad=True),
    Shape("a truth value", _start(_message(True, 1), (LAST, {"output_tokens": 7})), None, bad=True),
    Shape("absurdly large", _start(_message(11, 1), (LAST, {"output_tokens": 10**12})), None, bad=True),
    Shape("a list", _start([11, 1], (LAST, [11, 7])), None, bad=True),
    Shape(
        "more written for an hour than fits",
        _start(
            _message(11, 1, cache_creation={"ephemeral_1h_input_tokens": -3}),
            (LAST, _message(11, 7, cache_creation=[])),
        ),
        Usage(11, 0, 0, 7, 0),
    ),
)


def _gemini(given: int | None, made: int | None, total: int | None = None, **more: Any) -> dict[str, Any]:
    found = {"promptTokenCount": given, "candidatesTokenCount": made, "totalTokenCount": total, **more}
    return {name: value for name, value in found.items() if value is not None}


def _modal(name: str, **tokens: int) -> Mapping[str, Any]:
    return {name: [{"modality": kind, "tokenCount": count} for kind, count in tokens.items()]}


GEMINI = (
    last("plain", _gemini(11, 7, 18), Usage(11, 0, 0, 7, 0)),
    last("without a total", _gemini(11, 7), Usage(11, 0, 0, 7, 0)),
    last("zeros are left out", _gemini(11, None, 11), Usage(11, 0, 0, 0, 0)),
    last("a prompt alone at the end", _gemini(11, None), Usage(11, 0, 0, 0, 0)),
    last("output and total", _gemini(None, 7, 18), Usage(11, 0, 0, 7, 0)),
    last("the total is more than its parts", _gemini(11, 7, 51), Usage(11, 0, 0, 40, 0)),
    last("thoughts beside the candidates", _gemini(11, 7, 51, thoughtsTokenCount=33), Usage(11, 0, 0, 40, 33)),
    last("thoughts alone", _gemini(11, None, 44, thoughtsTokenCount=33), Usage(11, 0, 0, 33, 33)),
    last("cache reads are in the prompt", _gemini(100, 7, 107, cachedContentTokenCount=64), Usage(100, 64, 0, 7, 0)),
    last("all of it cached", _gemini(64, 7, 71, cachedContentTokenCount=64), Usage(64, 64, 0, 7, 0)),
    last("fed back by tools of the provider", _gemini(11, 7, 118, toolUsePromptTokenCount=100), Usage(111, 0, 0, 7, 0)),
    last("audio", _gemini(100, 7, 107, **_modal("promptTokensDetails", TEXT=20, AUDIO=80)), Usage(100, 0, 0, 7, 0, 80)),
    last(
        "images are input",
        _gemini(269, 7, 276, **_modal("promptTokensDetails", TEXT=11, IMAGE=258)),
        Usage(269, 0, 0, 7, 0),
    ),
    last(
        "audio that was cached",
        _gemini(
            100,
            7,
            107,
            cachedContentTokenCount=60,
            **_modal("promptTokensDetails", TEXT=20, AUDIO=80),
            **_modal("cacheTokensDetails", AUDIO=60),
        ),
        Usage(100, 60, 0, 7, 0, 20, cached_audio_tokens=60),
    ),
    last(
        "spoken output",
        _gemini(11, 50, 61, **_modal("candidatesTokensDetails", AUDIO=50)),
        Usage(11, 0, 0, 50, 0, 0, 50),
    ),
    last(
        "more cached than there was",
        _gemini(11, 7, 18, cachedContentTokenCount=99),
        Usage(11, 11, 0, 7, 0, clamped=True),
    ),
    last("a tier beside", _gemini(11, 7, 18, trafficType="ON_DEMAND"), Usage(11, 0, 0, 7, 0)),
    Shape(
        "cumulative in every chunk",
        ((FIRST, _gemini(11, None, 11)), (MIDDLE, _gemini(11, 3, 14)), (LAST, _gemini(11, 7, 18))),
        Usage(11, 0, 0, 7, 0),
    ),
    Shape("twice, the second lower", ((MIDDLE, _gemini(11, 9)), (LAST, _gemini(11, 7))), Usage(11, 0, 0, 7, 0)),
    Shape("absurd, then true", ((MIDDLE, _gemini(-1, 3)), (LAST, _gemini(11, 7))), Usage(11, 0, 0, 7, 0)),
    Shape("behind the end", ((LATE, _gemini(11, 7, 18)),), Usage(11, 0, 0, 7, 0)),
    Shape("never", (), None),
    last("null", None, None),
    last("an empty object", {}, None),
    last("output only", _gemini(None, 7), None),
    last("thoughts only", {"thoughtsTokenCount": 33}, None),
    Shape("a prompt alone, before any word", ((FIRST, _gemini(11, None, 11)),), None),
    Shape("in the middle only", ((MIDDLE, _gemini(11, 3, 14)),), None),
    last("negative input", _gemini(-11, 7), None, bad=True),
    last("negative output", _gemini(11, -7), None, bad=True),
    last("negative thoughts", _gemini(11, 7, 18, thoughtsTokenCount=-33), None, bad=True),
    last("a fraction", {"promptTokenCount": 11.5, "candidatesTokenCount": 7}, None, bad=True),
    last("a word", {"promptTokenCount": "11", "candidatesTokenCount": 7}, None, bad=True),
    last("a truth value", {"promptTokenCount": True, "candidatesTokenCount": 7}, None, bad=True),
    last("absurdly large", _gemini(11, 10**12), None, bad=True),
    last("a list", [11, 7], None, bad=True),
    last("modalities that are no objects", _gemini(11, 7, 18, promptTokensDetails=[3]), None, bad=True),
    last("modalities that are no list", _gemini(11, 7, 18, promptTokensDetails=3), Usage(11, 0, 0, 7, 0)),
    Shape("true, then absurd", ((MIDDLE, _gemini(11, 3)), (LAST, _gemini(11, -7))), None, bad=True),
    Shape("true, then empty", ((LAST, _gemini(11, 7)), (LATE, {})), Usage(11, 0, 0, 7, 0)),
)


def _converse(given: int | None, made: int | None, total: int | None = None, **more: Any) -> dict[str, Any]:
    found = {"inputTokens": given, "outputTokens": made, "totalTokens": total, **more}
    return {name: value for name, value in found.items() if value is not None}


CONVERSE = (
    last("plain", _converse(11, 7, 18), Usage(11, 0, 0, 7, 0)),
    last("without a total", _converse(11, 7), Usage(11, 0, 0, 7, 0)),
    last("input and total only", _converse(11, None, 18), Usage(11, 0, 0, 7, 0)),
    last("output and total only", _converse(None, 7, 18), Usage(11, 0, 0, 7, 0)),
    last("explicit zeros", _converse(0, 0, 0), Usage(0, 0, 0, 0, 0)),
    last("cache reads beside the input", _converse(11, 7, 82, cacheReadInputTokens=64), Usage(75, 64, 0, 7, 0)),
    last("cache writes", _converse(11, 7, 68, cacheWriteInputTokens=50), Usage(61, 0, 50, 7, 0)),
    last(
        "cache writes by life",
        _converse(
            11,
            7,
            68,
            cacheWriteInputTokens=50,
            cacheDetails=[{"ttl": "5m", "inputTokens": 20}, {"ttl": "1h", "inputTokens": 30}],
        ),
        Usage(61, 0, 50, 7, 0, cache_write_long_tokens=30),
    ),
    last("the total is more than its parts", _converse(11, 7, 51), Usage(11, 0, 0, 40, 0)),
    last("the total leaves the cache out", _converse(11, 7, 18, cacheReadInputTokens=64), Usage(75, 64, 0, 7, 0)),
    Shape("twice, the second lower", ((LAST, _converse(11, 9)), (LAST, _converse(11, 7))), Usage(11, 0, 0, 7, 0)),
    Shape("never", (), None),
    last("null", None, None),
    last("an empty object", {}, None),
    last("input only", _converse(11, None), None),
    last("output only", _converse(None, 7), None),
    last("negative input", _converse(-11, 7), None, bad=True),
    last("negative output", _converse(11, -7), None, bad=True),
    last("a fraction", {"inputTokens": 11.5, "outputTokens": 7}, None, bad=True),
    last("a word", {"inputTokens": "11", "outputTokens": 7}, None, bad=True),
    last("a truth value", {"inputTokens": True, "outputTokens": 7}, None, bad=True),
    last("absurdly large", _converse(11, 10**12), None, bad=True),
    last("a list", [11, 7], None, bad=True),
)
