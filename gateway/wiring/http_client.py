"""The HTTP client for providers that the settings name, the signer of requests to Bedrock, which comes with an extra,
and what tokens of clouds are had with. Only what is used is imported: aiohttp takes 13 MB, httpx and botocore more."""

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from typing import Any

from gateway.ports import Provider, Upstream

_CLIENTS: Mapping[str, tuple[str, str]] = {
    "http1": ("gateway.upstream.http1_client", "Http1Upstream"),
    "aiohttp": ("gateway.upstream.aiohttp_client", "AiohttpUpstream"),
    "httpx": ("gateway.upstream.httpx_client", "HttpxUpstream"),
}


def new_client(name: str) -> Upstream:
    """Inside the running event loop."""
    module, kind = _CLIENTS[name]
    make: Callable[[], Upstream] = getattr(importlib.import_module(module), kind)
    return make()


def bedrock_kind() -> Callable[..., Provider] | None:
    """The provider that signs; None where the extra is not installed."""
    if importlib.util.find_spec("botocore") is None:
        return None
    kind: Callable[..., Provider] = importlib.import_module("gateway.upstream.bedrock").BedrockProvider
    return kind


def entra_module() -> Any:
    """`gateway.upstream.entra`, which signs and so loads a library for it."""
    return importlib.import_module("gateway.upstream.entra")


def google_module() -> Any:
    """`gateway.upstream.google`, which does the same."""
    return importlib.import_module("gateway.upstream.google")


def private_key_module() -> Any:
    """`gateway.upstream.private_key`, which loads it too."""
    return importlib.import_module("gateway.upstream.private_key")
