"""Which wire format a client speaks, told from its request: the shape of every answer that is not the model's own."""

from collections.abc import Mapping
from enum import StrEnum

from gateway.web.not_served import below_prefix

GEMINI_ACTIONS = (":generateContent", ":streamGenerateContent", ":countTokens", ":embedContent", ":batchEmbedContents")


class Front(StrEnum):
    """`RESPONSES` has the shapes of `OPENAI` and statuses of its own (CONTRACT.md section 5)."""

    OPENAI = "openai"
    RESPONSES = "responses"
    ANTHROPIC = "anthropic"
    GEMINI = "gemini"
    BEDROCK = "bedrock"


def front_of(path: str, headers: Mapping[str, str]) -> Front:
    """Header names in lower case. Unknown paths are answered in the shape of the format whose prefix they have."""
    if path.startswith(("/v1/messages", "/vertex/")) or (
        path.startswith("/v1/models") and "anthropic-version" in headers
    ):
        return Front.ANTHROPIC
    if path.startswith("/v1beta/") or (
        path.startswith("/v1/models") and ("x-goog-api-key" in headers or _action(path))
    ):
        return Front.GEMINI
    if path.startswith("/bedrock/"):
        return Front.BEDROCK
    return Front.RESPONSES if below_prefix(path).startswith("/responses") else Front.OPENAI


def _action(path: str) -> bool:
    """Whether a path ends with an action of the Gemini API; names of models may hold colons, too."""
    return path.endswith(GEMINI_ACTIONS)
