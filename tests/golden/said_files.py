"""Reads `said/`: what clients ask and what providers answer in each format, in the real ones' words and bytes.

A file is a list of sections, each begun by a line `=== KIND NAME`; the kinds are `request`, `reply`, `refusal` (by its
status) and `stream`. A stream of events stands as it goes over the wire; one of frames has a line for each, its event
and its payload, `!` before an exception.
"""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from gateway.core.wire.eventstream import event_frame, exception_frame

HERE = Path(__file__).parent
FORMATS_SAID = ("openai_chat", "openai_responses", "anthropic_messages", "gemini", "bedrock_converse")
FRAMED = "bedrock_converse"
_HEADING = re.compile(r"^=== (\w+) (\w+)\n", re.MULTILINE)


@cache
def sections(name: str) -> dict[tuple[str, str], str]:
    """(kind, name) -> text."""
    _, *found = _HEADING.split((HERE / "said" / f"{name}.txt").read_text(encoding="utf-8"))
    kinds, names, texts = found[0::3], found[1::3], found[2::3]
    held = {(kind, case): text for kind, case, text in zip(kinds, names, texts, strict=True)}
    assert len(held) == len(kinds), "a section stands twice"
    return held


def cases(name: str, kind: str) -> list[str]:
    return [case for found, case in sections(name) if found == kind]


def body(name: str, kind: str, case: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(sections(name)[kind, case])
    return found


def stream(name: str, case: str) -> bytes:
    """The bytes that the provider sends."""
    text = sections(name)["stream", case]
    if name == FRAMED:
        return b"".join(map(_frame, text.splitlines()))
    return text.replace("\n", "\r\n").encode() if name == "gemini" else text.encode()


def _frame(line: str) -> bytes:
    kind, payload = line.split(" ", 1)
    exception = kind.startswith("!")
    return (exception_frame if exception else event_frame)(kind.removeprefix("!"), payload.encode())
