"""Nothing is dropped in silence: a member that nobody knows is refused by its name, wherever it stands in a request."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.core.wire.facts import FieldRefused
from gateway.core.wire.formats import FORMATS
from gateway.pipeline.translate import half_of
from tests.golden.said_files import FORMATS_SAID, body, cases

UNKNOWN = "unheard_of"
FREE = {
    *("parameters", "schema", "input_schema", "parametersJsonSchema", "responseSchema", "responseJsonSchema", "json"),
    *("input_examples", "args", "response", "cache_control", "cachePoint", "thinking", "reasoning", "metadata"),
    *(
        "requestMetadata",
        "performanceConfig",
        "thinkingConfig",
        "safetySettings",
        "labels",
        "stream_options",
        "additionalModelRequestFields",
    ),
}
"""What is the client's own, or is left out whole."""
STAYS_BEHIND = ("thinking", "redacted_thinking", "reasoning")
Path = tuple[Any, ...]


def objects(holder: Any, path: Path = ()) -> Iterator[Path]:
    """Where the objects of a request are that a format says something of."""
    if isinstance(holder, list):
        for at, each in enumerate(holder):
            yield from objects(each, (*path, at))
    elif isinstance(holder, dict) and holder.get("type") not in STAYS_BEHIND and "reasoningContent" not in holder:
        yield path
        for name, value in holder.items():
            own = name == "input" and path and not isinstance(value, list)  # arguments of a call
            if name not in FREE and not own:
                yield from objects(value, (*path, name))


def read(name: str, asked: dict[str, Any]) -> None:
    FORMATS[name].requests.read(asked)
    half_of(FORMATS[name]).read_request(asked)


def places() -> Iterator[tuple[str, str, Path]]:
    for name in FORMATS_SAID:
        for case in cases(name, "request"):
            asked = body(name, "request", case)
            try:
                read(name, asked)
            except FieldRefused:
                continue
            yield from ((name, case, path) for path in objects(asked))


PLACES = list(places())


def test_every_format_has_objects_to_try() -> None:
    assert {name for name, _, _ in PLACES} == set(FORMATS_SAID)
    assert len(PLACES) > 250


@pytest.mark.parametrize(("name", "case", "path"), PLACES)
def test_an_unknown_member_is_refused_by_its_name(name: str, case: str, path: Path) -> None:
    asked = copy.deepcopy(body(name, "request", case))
    holder: Any = asked
    for step in path:
        holder = holder[step]
    holder[UNKNOWN] = {"says": "something"}
    with pytest.raises(FieldRefused, match=UNKNOWN):
        read(name, asked)
