"""Which wire format a client speaks, told from its request: the shape of every answer that is not the model's own."""

from collections.abc import Mapping
from enum import StrEnum


class Front(StrEnum):
    """`RESPONSES` has the shapes of `OPENAI` and statuses of its own (CONTRACT.md section 5)."""

    OPENAI = "openai"
    RESPONSES = "responses"
    ANTHROPIC = "anthropic"


def front_of(path: str, headers: Mapping[str, str]) -> Front:
    """Header names in lower case. Unknown paths are answered in the shape of the format whose prefix they have."""
    if path.startswith("/v1/messages") or (path.startswith("/v1/models") and "anthropic-version" in headers):
        return Front.ANTHROPIC
    return Front.RESPONSES if path.startswith("/v1/responses") else Front.OPENAI
