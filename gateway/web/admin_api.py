"""The admin API under /api/v1: use cases of `gateway.management`, behind the admin token, errors in our one shape."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from gateway.core.denial import Code, Denial, Refused
from gateway.core.identity import ABSENT, KeyState
from gateway.core.report import AuditSearch
from gateway.core.session import SessionState
from gateway.core.strict_json import JsonRefused
from gateway.management import reporting
from gateway.management import sessions as session_desk
from gateway.management.keys import NewKey, key_object
from gateway.management.refused import ManagementRefused, Unknown
from gateway.pipeline.answer import Answer, Whole
from gateway.pipeline.reserve import books_unavailable
from gateway.ports import BooksUnavailable
from gateway.web.admin_models import ExplainQuestion, KeyChange, KeyCreate, SessionChange
from gateway.web.body import parse_json
from gateway.web.control import Question
from gateway.web.exchange import Request
from gateway.web.face import Face, Handler
from gateway.web.health import require_admin

B = TypeVar("B", bound=BaseModel)
ACTOR_LENGTH_MAX = 64


def admin(handler: Handler) -> Handler:
    """A handler behind the admin token; what management refuses becomes an answer."""

    async def guarded(face: Face, request: Request) -> Answer:
        require_admin(face, request)
        try:
            return await handler(face, request)
        except Unknown as error:
            raise Refused(Denial(Code.ROUTE_UNKNOWN, _sentence(error))) from error
        except ManagementRefused as error:
            raise Refused(Denial(Code.REQUEST_MALFORMED, _sentence(error))) from error
        except BooksUnavailable as error:
            raise Refused(books_unavailable()) from error

    return guarded


async def list_keys(face: Face, request: Request) -> Answer:
    return _json({"keys": [key_object(key) for key in face.plane.keys.all()]})


async def create_key(face: Face, request: Request) -> Answer:
    asked = await _body(request, KeyCreate)
    new = NewKey(
        name=asked.name,
        user=asked.user or ABSENT,
        team=asked.team or ABSENT,
        app=asked.app or ABSENT,
        service=asked.service or ABSENT,
        agent=asked.agent or ABSENT,
        models=None if asked.models is None else tuple(asked.models),
        tools=None if asked.tools is None else tuple(asked.tools),
        limits=tuple(asked.limits),
        expires_at_us=_instant_us(asked.expires_at, "expires_at"),
        may_assert_user=asked.may_assert_user,
    )
    key, secret = await face.control.keys.create(new, _actor(request))
    return _json({**key_object(key), "secret": secret}, status=201)


async def change_key(face: Face, request: Request) -> Answer:
    asked = await _body(request, KeyChange)
    desk, reference, actor = face.control.keys, request.parameters["key"], _actor(request)
    if asked.action == "rotate":
        key, secret = await desk.rotate(reference, actor)
        return _json({**key_object(key), "secret": secret})
    states = {"enable": KeyState.ACTIVE, "disable": KeyState.DISABLED, "revoke": KeyState.REVOKED}
    return _json(key_object(await desk.set_state(reference, states[asked.action], actor)))


async def usage(face: Face, request: Request) -> Answer:
    query = request.query()
    by = tuple(name for name in query.get("by", "user").split(",") if name)
    since, until = _instant_us(query.get("since"), "since"), _instant_us(query.get("until"), "until")
    return _json({"by": list(by), "rows": await reporting.usage(face.control.reports, by, since, until)})


async def list_sessions(face: Face, request: Request) -> Answer:
    query = request.query()
    limit = _whole(query, "limit", 100)
    key, state = query.get("key"), query.get("state")
    rows = await session_desk.list_sessions(face.plane, face.control.reports, key=key, state=state, limit=limit)
    return _json({"sessions": rows})


async def show_session(face: Face, request: Request) -> Answer:
    return _json(await session_desk.show_session(face.plane, face.control.reports, request.parameters["session"]))


async def change_session(face: Face, request: Request) -> Answer:
    asked = await _body(request, SessionChange)
    states = {"pause": SessionState.PAUSED, "resume": SessionState.OPEN, "stop": SessionState.STOPPED}
    session_id, actor = request.parameters["session"], _actor(request)
    reason = "" if asked.action == "resume" else asked.reason
    return _json(await session_desk.set_state(face.plane, session_id, states[asked.action], reason, actor))


async def list_limits(face: Face, request: Request) -> Answer:
    return _json({"limits": reporting.list_limits(face.plane, request.query().get("name"))})


async def search_audit(face: Face, request: Request) -> Answer:
    query = request.query()
    search = AuditSearch(
        since_us=_instant_us(query.get("since"), "since"),
        until_us=_instant_us(query.get("until"), "until"),
        kind=query.get("kind"),
        call_id=query.get("call"),
        session_id=query.get("session"),
        text=query.get("text"),
        limit=_whole(query, "limit", 100),
    )
    return _json({"rows": await reporting.audit(face.control.reports, search)})


async def verify_audit(face: Face, request: Request) -> Answer:
    return _json(await reporting.verify(face.control.reports))


async def check_policy(face: Face, request: Request) -> Answer:
    return _json({"findings": await face.control.policy_check()})


async def run_policy_tests(face: Face, request: Request) -> Answer:
    return _json({"results": await face.control.policy_test()})


async def explain_policy(face: Face, request: Request) -> Answer:
    asked = await _body(request, ExplainQuestion)
    question = Question(tuple(asked.subjects), asked.model, asked.tool, asked.action, asked.arguments)
    return _json(await face.control.policy_explain(question))


async def reload(face: Face, request: Request) -> Answer:
    findings = await face.control.reload()
    return _json({"ok": not findings, "findings": list(findings)}, status=200 if not findings else 409)


async def status(face: Face, request: Request) -> Answer:
    return _json(face.control.status())


async def _body(request: Request, model: type[B]) -> B:
    try:
        value = parse_json(await request.read_body())
        return model.model_validate(value)
    except JsonRefused as error:
        raise Refused(Denial(Code.REQUEST_MALFORMED, f"The body is not acceptable JSON: {error}.")) from error
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "body"
        raise Refused(Denial(Code.REQUEST_MALFORMED, f"{field}: {first['msg']}.", field=field)) from error


def _actor(request: Request) -> str:
    name = request.headers.get("x-comptroller-actor", "")
    return f"admin:{name[:ACTOR_LENGTH_MAX]}" if name and name.isprintable() else "admin"


def _instant_us(text: str | None, field: str) -> int | None:
    """A day or an instant in ISO 8601; without an offset it is UTC."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ManagementRefused(f"{field}: '{text[:40]}' is no day or instant, such as 2027-01-31") from None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return round(at.timestamp() * 1_000_000)


def _whole(query: Mapping[str, str], name: str, otherwise: int) -> int:
    text = query.get(name)
    if text is None:
        return otherwise
    if not text.isdigit() or not 1 <= int(text) <= 10_000:
        raise ManagementRefused(f"{name} must be a whole number from 1 to 10000")
    return int(text)


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."


def _json(value: Any, status: int = 200) -> Whole:
    return Whole(status, {"content-type": "application/json", "cache-control": "no-store"}, orjson.dumps(value))
