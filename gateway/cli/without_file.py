"""The configuration of a start without a file, with the models that the pinned price list knows."""

from collections.abc import Mapping
from types import MappingProxyType

from gateway.settings import Loaded
from gateway.settings.defaults import defaults
from gateway.wiring.prices import known_models

_OPENAI = ("gpt-6.1-sol", "gpt-5", "gpt-5-mini", "gpt-5-nano", "gpt-4.1", "gpt-4.1-mini", "gpt-4o", "gpt-4o-mini")
_OPENAI_MORE = ("o3", "o4-mini", "text-embedding-3-small", "text-embedding-3-large")
_ANTHROPIC = ("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5", "claude-opus-4-8", "claude-haiku-4-5")
_GEMINI = ("gemini-3.8-flash", "gemini-3.5-flash-lite", "gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.5-flash-lite")
MODELS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"openai": (*_OPENAI, *_OPENAI_MORE), "anthropic": _ANTHROPIC, "gemini": _GEMINI}
)
"""By kind of provider; those that the list has no price for are left out."""


def without_file(environment: Mapping[str, str]) -> Loaded:
    """See `gateway.settings.defaults`."""
    return defaults(environment, {kind: known_models(dict.fromkeys(names, kind)) for kind, names in MODELS.items()})
