"""The HTTP face of a node: Quart with every route, the MCP front door and the guard around it."""

import time

from gateway.pipeline.key_rate import KeyRate
from gateway.web.admin_routes import ADMIN_ROUTES
from gateway.web.edge import AsgiApp, Edge
from gateway.web.face import Face
from gateway.web.hot import HotRoutes
from gateway.web.quart_app import make_quart
from gateway.web.routes import ROUTES
from gateway.wiring.control import control_of
from gateway.wiring.housekeeping import Housekeeper
from gateway.wiring.node import Node
from mcp_server.mount import McpMount

OWN_CALLS_PER_S = 10.0
LOOPBACK = ("127.", "localhost", "::1")


def face_of(node: Node, keeper: Housekeeper) -> Face:
    settings = node.loaded.settings
    return Face(
        plane=node.plane,
        digest_of=node.digest_of,
        body_bytes_max=settings.sizes.body_max,
        header_bytes_max=settings.sizes.header_max,
        ready=node.ready,
        metrics=node.metrics.render,
        admin_digest=lambda: node.admin_digest,
        loopback=settings.server.host.startswith(LOOPBACK),
        incident=node.incident,
        control=control_of(node, keeper),
        own_rate=KeyRate(OWN_CALLS_PER_S, round(2 * OWN_CALLS_PER_S), time.monotonic),
    )


def asgi_of(node: Node, face: Face) -> AsgiApp:
    """`server.fast_path` decides whether hot routes skip Quart's request context; the handlers are the same."""
    quart = make_quart(face, (*ROUTES, *ADMIN_ROUTES))
    mounted = McpMount(quart, node.front)
    hot = HotRoutes(ROUTES if node.loaded.settings.server.fast_path else ())
    return Edge(face, mounted, hot)
