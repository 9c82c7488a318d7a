"""The configuration of a start without a file, with the models that the pinned price list knows."""

from collections.abc import Mapping

from gateway.settings import Loaded
from gateway.settings.defaults import defaults
from gateway.wiring.prices import known_models

OPENAI_MODELS = ("gpt-6.1-sol", "gpt-5", "gpt-5-mini", "gpt-5-nano", "gpt-4.1", "gpt-4.1-mini", "gpt-4o", "gpt-4o-mini")
OPENAI_MORE = ("o3", "o4-mini", "text-embedding-3-small", "text-embedding-3-large")


def without_file(environment: Mapping[str, str]) -> Loaded:
    """See `gateway.settings.defaults`."""
    names = known_models(dict.fromkeys((*OPENAI_MODELS, *OPENAI_MORE), "openai"))
    return defaults(environment, names)
