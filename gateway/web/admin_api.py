"""The admin API under /api/v1: use cases of `gateway.management`, behind the admin token, errors in our one shape.

Rules: a body or query with a field that is not known is refused; an answer is checked against the model that the
OpenAPI document shows of it.
"""

import re
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from gateway.core.denial import Code, Denial, Refused, time_shown
from gateway.core.idempotency import HEADER
from gateway.core.identity import ABSENT, KeyState
from gateway.core.report import AuditSearch
from gateway.core.session import SessionState
from gateway.core.strict_json import JsonRefused
from gateway.management import limits as limit_desk
from gateway.management import reporting
from gateway.management import sessions as session_desk
from gateway.management import stops as stop_desk
from gateway.management.keys import NewKey, key_object
from gateway.management.policies import Question
from gateway.management.refused import ManagementRefused, Unknown
from gateway.pipeline.answer import Answer, Whole
from gateway.pipeline.idempotent import once
from gateway.pipeline.reserve import books_unavailable
from gateway.ports import BooksUnavailable
from gateway.web import admin_answers as answers
from gateway.web import admin_models as asked_for
from gateway.web import limit_answers
from gateway.web.body import parse_json
from gateway.web.exchange import Request
from gateway.web.face import Face, Handler
from gateway.web.health import require_admin
from gateway.web.status_answers import Status

M = TypeVar("M", bound=BaseModel)
ADMIN = ":admin"
"""In place of the id of a virtual key, which begins otherwise."""
_ACTOR = re.compile(r"[\x21-\x7e]{1,64}")
_KEY_STATES: Final = {"enable": KeyState.ACTIVE, "disable": KeyState.DISABLED, "revoke": KeyState.REVOKED}
_SESSION_STATES: Final = {
    "pause": SessionState.PAUSED,
    "resume": SessionState.OPEN,
    "stop": SessionState.STOPPED,
}


def admin(handler: Handler) -> Handler:
    """A handler behind the admin token."""

    async def guarded(face: Face, request: Request) -> Answer:
        require_admin(face, request)
        if request.method == "GET" or HEADER not in request.headers:
            return await answering(face, request)
        return await _once(face, request, answering)

    answering = managed(handler)
    return guarded


def managed(handler: Handler) -> Handler:
    """A handler of which what management refuses becomes an answer."""

    async def answering(face: Face, request: Request) -> Answer:
        try:
            return await handler(face, request)
        except Unknown as error:
            raise Refused(Denial(Code.ROUTE_UNKNOWN, _sentence(error))) from error
        except ManagementRefused as error:
            raise Refused(Denial(Code.REQUEST_MALFORMED, _sentence(error))) from error
        except BooksUnavailable as error:
            raise Refused(books_unavailable()) from error

    return answering


async def _once(face: Face, request: Request, answered: Handler) -> Answer:
    """A change with an Idempotency-Key: made once; its answer is kept in memory only."""
    content = await request.read_body()

    async def read_again() -> bytes:
        return content

    try:
        body = parse_json(content) if content else None
    except JsonRefused:
        body = content.decode("utf-8", "surrogateescape")
    asked = (f"{request.method} {request.path}?{request.raw_query!r}", body)
    call = partial(answered, face, request._replace(read_body=read_again))
    try:
        return await once(face.plane, ADMIN, request.headers, asked, face.plane.ids.new("write"), call)
    except BooksUnavailable as error:
        raise Refused(books_unavailable()) from error


async def list_keys(face: Face, request: Request) -> Answer:
    query_of(request, asked_for.NoQuery)
    return answered(answers.Keys, {"keys": [key_object(key) for key in face.plane.keys.all()]})


async def show_key(face: Face, request: Request) -> Answer:
    query_of(request, asked_for.NoQuery)
    return answered(answers.Key, key_object(face.control.keys.find(request.parameters["key"])))


async def create_key(face: Face, request: Request) -> Answer:
    asked = await body_of(request, asked_for.KeyCreate)
    new = NewKey(
        name=asked.name or None,
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
    key, secret = await face.control.keys.create(new, actor_of(request))
    return answered(answers.KeyWithSecret, {**key_object(key), "secret": secret}, status=201)


async def change_key(face: Face, request: Request) -> Answer:
    asked = await body_of(request, asked_for.KeyChange)
    desk, reference, actor = face.control.keys, request.parameters["key"], actor_of(request)
    if asked.action == "rotate":
        key, secret = await desk.rotate(reference, actor)
        return answered(answers.KeyWithSecret, {**key_object(key), "secret": secret})
    key = await desk.set_state(reference, _KEY_STATES[asked.action], actor)
    return answered(answers.KeyWithSecret, {**key_object(key), "secret": None})


async def usage(face: Face, request: Request) -> Answer:
    asked = query_of(request, asked_for.UsageQuery)
    by = tuple(dict.fromkeys(name.strip() for name in asked.by.split(",") if name.strip()))
    since_us, until_us = _instant_us(asked.since, "since"), _instant_us(asked.until, "until")
    rows = await reporting.usage(face.control.reports, by, since_us, until_us)
    shown = {"by": list(by), "since": time_shown(since_us), "until": time_shown(until_us), "rows": rows}
    return answered(answers.Usage, shown)


async def list_sessions(face: Face, request: Request) -> Answer:
    asked = query_of(request, asked_for.SessionsQuery)
    rows = await session_desk.list_sessions(
        face.plane, face.control.reports, key=asked.key, state=asked.state, limit=asked.limit
    )
    return answered(answers.Sessions, {"sessions": rows})


async def show_session(face: Face, request: Request) -> Answer:
    query_of(request, asked_for.NoQuery)
    found = await session_desk.show_session(face.plane, face.control.reports, request.parameters["session"])
    return answered(answers.SessionDetail, found)


async def change_session(face: Face, request: Request) -> Answer:
    asked = await body_of(request, asked_for.SessionChange)
    session_id, actor = request.parameters["session"], actor_of(request)
    reason = "" if asked.action == "resume" else asked.reason
    if asked.action == "close":
        return answered(answers.SessionState, await session_desk.close_session(face.plane, session_id, reason, actor))
    state = _SESSION_STATES[asked.action]
    return answered(answers.SessionState, await session_desk.set_state(face.plane, session_id, state, reason, actor))


async def list_stops(face: Face, request: Request) -> Answer:
    query_of(request, asked_for.NoQuery)
    return answered(answers.Stops, {"stops": stop_desk.list_stops(face.plane)})


async def change_stop(face: Face, request: Request) -> Answer:
    asked = await body_of(request, asked_for.StopChange)
    reason = "" if asked.action == "resume" else asked.reason
    change = (asked.kind, asked.name, _SESSION_STATES[asked.action], reason, actor_of(request))
    return answered(answers.StopChanged, await stop_desk.set_stop(face.plane, *change))


async def list_limits(face: Face, request: Request) -> Answer:
    asked = query_of(request, asked_for.LimitsQuery)
    found = await limit_desk.counters(face.plane, face.control.reports, asked.name)
    return answered(limit_answers.Counters, {"limits": found})


async def show_limit(face: Face, request: Request) -> Answer:
    query_of(request, asked_for.NoQuery)
    control, name = face.control, request.parameters["name"]
    found = await limit_desk.show_limit(face.plane, control.reports, control.key_limits(), name)
    return answered(limit_answers.Limit, found)


async def list_alerts(face: Face, request: Request) -> Answer:
    asked = query_of(request, asked_for.AlertsQuery)
    return answered(answers.Alerts, {"alerts": await face.control.alerts.listed(asked.state, asked.limit)})


async def show_alert(face: Face, request: Request) -> Answer:
    query_of(request, asked_for.NoQuery)
    return answered(answers.Alert, await face.control.alerts.shown(request.parameters["alert"]))


async def test_alerts(face: Face, request: Request) -> Answer:
    return answered(answers.Alert, await face.control.alerts.test(actor_of(request)))


async def change_alert(face: Face, request: Request) -> Answer:
    await body_of(request, asked_for.AlertChange)
    return answered(answers.Alert, await face.control.alerts.retry(request.parameters["alert"]))


async def search_audit(face: Face, request: Request) -> Answer:
    asked = query_of(request, asked_for.AuditQuery)
    search = AuditSearch(
        since_us=_instant_us(asked.since, "since"),
        until_us=_instant_us(asked.until, "until"),
        kind=asked.kind,
        call_id=asked.call,
        session_id=asked.session,
        text=asked.text,
        limit=asked.limit,
        would_deny=asked.would_deny,
    )
    return answered(answers.AuditRows, {"rows": await reporting.audit(face.control.reports, search)})


async def verify_audit(face: Face, request: Request) -> Answer:
    query_of(request, asked_for.NoQuery)
    return answered(answers.Verified, await reporting.verify(face.control.reports))


async def check_policy(face: Face, request: Request) -> Answer:
    query_of(request, asked_for.NoQuery)
    return answered(answers.Findings, {"findings": await face.control.policy_check()})


async def run_policy_tests(face: Face, request: Request) -> Answer:
    query_of(request, asked_for.NoQuery)
    return answered(answers.TestResults, {"results": await face.control.policy_test()})


async def explain_policy(face: Face, request: Request) -> Answer:
    asked = await body_of(request, asked_for.ExplainQuestion)
    key = None if asked.key is None else face.control.keys.find(asked.key)
    subjects = (*asked.subjects, *(sorted(key.subjects()) if key is not None else ()))
    if not subjects:
        raise ManagementRefused("name whom it is about: `subjects` such as user:alice, or `key`")
    question = Question(subjects, asked.model, asked.tool, asked.action, asked.arguments)
    return answered(answers.Explanation, await face.control.policy_explain(question))


async def reload(face: Face, request: Request) -> Answer:
    findings = await face.control.reload()
    return answered(answers.Reloaded, {"ok": not findings, "findings": list(findings)})


async def status(face: Face, request: Request) -> Answer:
    query_of(request, asked_for.NoQuery)
    return answered(Status, face.control.status())


async def body_of(request: Request, model: type[M]) -> M:
    try:
        return _checked(model, parse_json(await request.read_body()), "body")
    except JsonRefused as error:
        raise Refused(Denial(Code.REQUEST_MALFORMED, f"The body is not acceptable JSON: {error}.")) from error


def query_of(request: Request, model: type[M]) -> M:
    return _checked(model, request.query(), "query")


def _checked(model: type[M], value: object, whole: str) -> M:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])[:80] or whole
        message = "is not known here" if first["type"] == "extra_forbidden" else first["msg"]
        raise Refused(Denial(Code.REQUEST_MALFORMED, f"{field}: {message}.", field=field)) from error


def actor_of(request: Request) -> str:
    """Whom the journal names; a header that could pass for something else is not taken."""
    name = request.headers.get("x-comptroller-actor")
    if name is None:
        return "admin"
    if not _ACTOR.fullmatch(name):
        raise ManagementRefused("X-Comptroller-Actor must be 1 to 64 visible ASCII characters")
    return f"admin:{name}"


def _instant_us(text: str | None, field: str) -> int | None:
    """A day or an instant in ISO 8601; without an offset it is UTC."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
        at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        return round(at.timestamp() * 1_000_000)
    except (ValueError, OverflowError):
        raise ManagementRefused(f"'{text[:40]}' is no day or instant for `{field}`: write it like 2027-01-31") from None


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."


def answered(model: type[BaseModel], value: Any, status: int = 200) -> Whole:
    content = orjson.dumps(model.model_validate(value).model_dump())
    return Whole(status, {"content-type": "application/json", "cache-control": "no-store"}, content)
