"""What is measured: each lane is one server between the loader and the mock upstream.

A lane says what it lacks on this machine instead of failing; `share` cuts the calls of a slow one, so that a round of
each takes seconds.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from benchmarks import litellm_proxy
from benchmarks.gateway_config import OUR_MODEL, Governance, write_config
from benchmarks.load import KEY_VARIABLE
from benchmarks.processes import Server, free_port
from benchmarks.relay_asgi import UPSTREAM_VARIABLE

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
COMPTROLLER = BIN / "comptroller"
DIRECT = "direct"

NGINX_CONF = """
daemon off;
master_process off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  keepalive_requests 100000000;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  upstream mock {{ server 127.0.0.1:{upstream_port}; keepalive 128; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://mock;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Site:
    """Where a lane is set up."""

    directory: Path
    upstream_port: int
    core: int | None
    key: str


@dataclass(frozen=True, slots=True)
class Lane:
    name: str
    title: str
    server: Callable[[Site], Server] | None
    lacks: Callable[[], str | None]
    share: float = 1.0
    by_default: bool = True
    ours: bool = False


def _nothing() -> str | None:
    return None


def nginx_binary() -> str | None:
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def _nginx_lacks() -> str | None:
    return None if nginx_binary() else "nginx is not installed"


def _nginx(site: Site) -> Server:
    port = free_port()
    conf = site.directory / "nginx.conf"
    conf.write_text(NGINX_CONF.format(directory=site.directory, upstream_port=site.upstream_port, port=port))
    command = [str(nginx_binary()), "-p", str(site.directory), "-c", str(conf)]
    return Server(command, port, "/v1/models", {}, site.directory, site.core)


def _relay(*command: str) -> Callable[[Site], Server]:
    def server(site: Site) -> Server:
        port = free_port()
        environment = {UPSTREAM_VARIABLE: f"http://127.0.0.1:{site.upstream_port}", "PYTHONPATH": str(ROOT)}
        filled = [sys.executable, "-m", *(part.format(port=port) for part in command), "benchmarks.relay_asgi:app"]
        return Server(filled, port, "/v1/models", environment, site.directory, site.core)

    return server


def _litellm(site: Site) -> Server:
    port = free_port()
    command, environment = litellm_proxy.command(site.directory, site.upstream_port, port)
    return Server(command, port, "/health/liveliness", environment, site.directory, site.core)


def comptroller(
    server: str, governance: Governance, *, fast_path: bool = True, client: str = "http1"
) -> Callable[[Site], Server]:
    def start(site: Site) -> Server:
        port = free_port()
        config = write_config(site.directory, site.upstream_port, governance, fast_path=fast_path, client=client)
        command = [str(COMPTROLLER), "serve", "--config", str(config), "--port", str(port), "--server", server]
        environment = {KEY_VARIABLE: site.key}
        return Server(command, port, "/readyz", environment, site.directory, site.core)

    return start


@lru_cache(maxsize=1)
def virtual_key() -> str | None:
    """A well-formed key for one run; the gateways read it from their environment."""
    command = [str(COMPTROLLER), "keys", "generate", "--json"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    return str(json.loads(done.stdout)["secret"]) if done.returncode == 0 else None


def comptroller_lacks() -> str | None:
    if not COMPTROLLER.exists():
        return "the command `comptroller` is not installed beside this Python"
    if virtual_key() is None:
        return "`comptroller keys generate` does not work"
    return None if OUR_MODEL.exists() else "there is no model.conf"


def _ours() -> list[Lane]:
    lanes = []
    for governance, word in ((Governance.NONE, "pass"), (Governance.ALL, "all")):
        said = "pass-through" if governance is Governance.NONE else "all governance"
        for server, label in (("uvicorn", "uvicorn"), ("hypercorn", "Hypercorn")):
            for fast_path in (True, False):
                name = f"{word}-{server}" + ("" if fast_path else "-quart")
                title = f"comptroller, {said}, {label}" + ("" if fast_path else ", fast path off")
                start = comptroller(server, governance, fast_path=fast_path)
                lanes.append(Lane(name, title, start, comptroller_lacks, ours=True))
    slow = comptroller("hypercorn", Governance.ALL, client="httpx")
    title = "comptroller, all governance, Hypercorn, httpx adapter"
    lanes.append(Lane("all-hypercorn-httpx", title, slow, comptroller_lacks, 0.25, by_default=False, ours=True))
    return lanes


def all_lanes() -> list[Lane]:
    uvicorn = ("uvicorn", "--port", "{port}", "--http", "httptools", "--loop", "uvloop", "--no-access-log")
    hypercorn = ("hypercorn", "--bind", "127.0.0.1:{port}", "--worker-class", "uvloop", "--workers", "0")
    title = f"LiteLLM proxy {litellm_proxy.VERSION}, no governance, no database"
    return [
        Lane(DIRECT, "the mock upstream itself", None, _nothing),
        Lane("nginx", "nginx proxy_pass", _nginx, _nginx_lacks),
        Lane("relay-uvicorn", "bare ASGI relay, uvicorn", _relay(*uvicorn, "--log-level", "warning"), _nothing),
        Lane("relay-hypercorn", "bare ASGI relay, Hypercorn", _relay(*hypercorn), _nothing),
        *_ours(),
        Lane("litellm", title, _litellm, litellm_proxy.lacks, share=0.1),
    ]
