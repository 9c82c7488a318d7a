"""Is it alive, does it take calls, what does it count. Liveness asks nothing of the books; readiness does."""

import hmac

from gateway.core.denial import Code, Denial, Refused
from gateway.pipeline.answer import Answer, Whole
from gateway.web.exchange import Request
from gateway.web.face import Face


async def healthz(face: Face, request: Request) -> Answer:
    """GET /healthz: the event loop runs."""
    return Whole(200, {"content-type": "application/json"}, b'{"status":"ok"}')


async def readyz(face: Face, request: Request) -> Answer:
    """GET /readyz: calls are taken; 503 while starting, draining, or while the books cannot be written."""
    if face.ready():
        return Whole(200, {"content-type": "application/json"}, b'{"status":"ready"}')
    return Whole(503, {"content-type": "application/json", "retry-after": "1"}, b'{"status":"not ready"}')


async def metrics(face: Face, request: Request) -> Answer:
    """GET /metrics: Prometheus text; off loopback only with the admin token (rule 35)."""
    if not face.loopback:
        require_admin(face, request)
    return Whole(200, {"content-type": "text/plain; version=0.0.4; charset=utf-8"}, face.metrics())


def require_admin(face: Face, request: Request) -> None:
    """Raises Refused unless the admin token came as bearer. Compared by keyed digest, in constant time."""
    scheme, _, token = (request.headers.get("authorization") or "").partition(" ")
    expected = face.admin_digest()
    given = face.digest_of(token.strip()) if scheme.lower() == "bearer" and token else ""
    if expected is None or not hmac.compare_digest(given.encode(), expected.encode()):
        code = Code.KEY_UNKNOWN if token else Code.KEY_MISSING
        face.plane.refusals.unauthenticated(code.value, request.client, request.at_us)
        raise Refused(Denial(code, "This needs the admin token as `Authorization: Bearer <token>`."))
