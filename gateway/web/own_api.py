"""The part of the API that a virtual key uses for itself, under /api/v1/me: child sessions, its session's end, its
past.

Rule: the key decides whose it is; the session is found as for a call of the MCP endpoint, by the same headers.
"""

from gateway.core.call import Caller
from gateway.core.denial import Code, Denial, Refused
from gateway.management import own
from gateway.management.children import open_child, wish_of
from gateway.management.refused import ManagementRefused, Unknown
from gateway.pipeline.answer import Answer
from gateway.web import admin_answers as answers
from gateway.web import admin_models as asked_for
from gateway.web.admin_api import actor_of, answered, body_of, query_of
from gateway.web.exchange import Request
from gateway.web.face import Face
from gateway.web.openai import identified


async def open_own_child(face: Face, request: Request) -> Answer:
    caller = admitted(face, request)
    asked = await body_of(request, asked_for.OwnChildOpen)
    found = await own.open_own_child(face.plane, caller, request.headers, asked.model_dump())
    return answered(answers.ChildSession, found, status=201)


async def close_own(face: Face, request: Request) -> Answer:
    caller = admitted(face, request)
    asked = await body_of(request, asked_for.OwnSession)
    return answered(answers.Closed, await own.close_own(face.plane, caller, request.headers, asked.session))


async def own_history(face: Face, request: Request) -> Answer:
    caller = admitted(face, request)
    asked = query_of(request, asked_for.HistoryQuery)
    return answered(answers.History, await own.history(face.plane, face.control.reports, caller, asked.by, asked.last))


async def open_child_of(face: Face, request: Request) -> Answer:
    """By an administrator, as if the key of the parent had asked for it."""
    asked = await body_of(request, asked_for.ChildOpen)
    plane, session_id = face.plane, request.parameters["session"]
    parent = await plane.sessions.by_id(session_id)
    if parent is None:
        raise Unknown(f"no session '{session_id[:128]}' is known")
    key = plane.keys.get(parent.session.key_id)
    opener = None if key is None else plane.keys.caller(key.digest)
    if opener is None:
        raise ManagementRefused("the key of this session is not known any more")
    found = await open_child(plane, opener, parent, wish_of(asked.model_dump()), actor_of(request))
    return answered(answers.ChildSession, found, status=201)


def admitted(face: Face, request: Request) -> Caller:
    caller = identified(face, request)
    if (wait_s := face.own_rate.retry_after_s(caller.key_id)) is not None:
        text = f"Too many questions at once: ask again in {wait_s:.1f} s."
        raise Refused(Denial(Code.RATE_LIMITED, text, retry_after_s=round(wait_s, 3)))
    return caller
