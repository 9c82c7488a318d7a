"""The MCP front door from the settings."""

from urllib.parse import urlsplit

from gateway.settings import Loaded
from gateway.settings.mcp import McpServer
from gateway.wiring.governance import PlaneGovernance
from mcp_server.front import McpFront
from mcp_server.options import LOCAL_HOSTS, LOCAL_ORIGINS, FrontOptions
from mcp_server.upstream.config import ServerConfig


def front_of(loaded: Loaded, governance: PlaneGovernance) -> McpFront:
    settings = loaded.settings
    configs = [_server(loaded, name, server) for name, server in settings.mcp.servers.items()]
    hosts: tuple[str, ...] = LOCAL_HOSTS
    origins: tuple[str, ...] = LOCAL_ORIGINS
    named = {settings.server.host}
    if settings.server.public_url is not None:
        url = urlsplit(settings.server.public_url)
        origins = (*origins, f"{url.scheme}://{url.netloc}")
        named.add(url.hostname or "")
    for host in sorted(named - {"", "0.0.0.0", "::"}):
        hosts = (*hosts, host, f"{host}:*")
    options = FrontOptions(
        allowed_hosts=hosts,
        allowed_origins=origins,
        session_idle_s=settings.sessions.idle_timeout_s,
    )
    return McpFront(governance, configs, options)


def _server(loaded: Loaded, name: str, server: McpServer) -> ServerConfig:
    return ServerConfig(
        name=name,
        transport=server.transport,
        url=server.url,
        bearer=None if server.auth is None else server.auth.bearer.reveal(),
        headers={header: value.reveal() for header, value in server.headers.items()},
        command=tuple(server.command),
        env={variable: value.reveal() for variable, value in server.env.items()},
        cwd=None if server.cwd is None else str(loaded.resolve(server.cwd)),
        price_usd_micros_per_call=server.price_usd_micros_per_call,
        timeout_s=server.timeout_s,
    )
