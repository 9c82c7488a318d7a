"""Servers and services that speak OpenAI's format, by name: where they are, as of 2026-11."""

from collections.abc import Mapping
from types import MappingProxyType

PRESETS: Mapping[str, str] = MappingProxyType(
    {
        "deepseek": "https://api.deepseek.com/v1",
        "fireworks": "https://api.fireworks.ai/inference/v1",
        "groq": "https://api.groq.com/openai/v1",
        "llamacpp": "http://127.0.0.1:8080/v1",
        "lmstudio": "http://127.0.0.1:1234/v1",
        "mistral": "https://api.mistral.ai/v1",
        "ollama": "http://127.0.0.1:11434/v1",
        "openrouter": "https://openrouter.ai/api/v1",
        "together": "https://api.together.xyz/v1",
        "vllm": "http://127.0.0.1:8000/v1",
        "xai": "https://api.x.ai/v1",
    }
)
LOCAL = frozenset({"llamacpp", "lmstudio", "ollama", "vllm"})
"""Those that ask for no key where it is not said."""
