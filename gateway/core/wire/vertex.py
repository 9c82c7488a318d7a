"""Where Vertex AI takes the formats of the publishers whose models it serves. Formats: Google's reference of
`publishers.models` and Anthropic's guide to Claude on Vertex AI, as of 2026-11.

The formats themselves are those of the publishers' own APIs, so replies and streams pass as they are; what differs is
where a request goes and what of it stands in the path.
"""

from collections.abc import Mapping
from typing import Any

VERSION = "vertex-2023-10-16"
ANTHROPIC, GOOGLE = "anthropic", "google"
_VERSION = "anthropic_version"
_MODELS = "/models/"
_PUBLISHERS: Mapping[str, str] = {"claude": ANTHROPIC, "gemini": GOOGLE, "gemma": GOOGLE}


def publisher_of(model: str) -> str | None:
    """By the family that a model's name begins with; None = one that is not served here."""
    return next((publisher for family, publisher in _PUBLISHERS.items() if model.startswith(family)), None)


def placed(model: str, path: str, body: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Path and body as they go there, of a request as it would go to the publisher itself; `model` is its name there,
    quoted for a path."""
    if publisher_of(model) == ANTHROPIC:
        action = "streamRawPredict" if body.get("stream") is True else "rawPredict"
        rest = {name: value for name, value in body.items() if name != "model"}
        return f"/publishers/{ANTHROPIC}/models/{model}:{action}", {_VERSION: VERSION, **rest}
    return f"/publishers/{GOOGLE}{_MODELS}{path.partition(_MODELS)[2]}", body
