"""The HTTP client for providers that the settings name. Only that one is imported: aiohttp takes 13 MB, httpx more."""

import importlib
from collections.abc import Callable, Mapping

from gateway.ports import Upstream

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
