"""Text of which every word is one token, so that what a provider streams and what we count can be compared exactly."""

import json
from typing import Any

_ONE_TOKEN_EACH = (
    "the",
    "time",
    "people",
    "way",
    "day",
    "man",
    "world",
    "life",
    "hand",
    "part",
    "place",
    "case",
    "week",
)


def text(words: int) -> str:
    """So many words; the scripted provider sends one an event and bills one token for it."""
    return " ".join(_ONE_TOKEN_EACH[n % len(_ONE_TOKEN_EACH)] for n in range(words))


def spoken(name: str, words: int, **script: Any) -> str:
    """A message, told from others by its name, that tells the scripted provider to answer with so many words."""
    return f"<{name}> [[mock {json.dumps({'text': text(words), **script})}]]"


def name_in(message: str) -> str:
    return message.partition("<")[2].partition(">")[0]
