"""Asking for more: what a key asks for itself under /api/v1/me/requests, what people ask and decide under
/api/v1/requests. The actor `user:<name>` names the person whose right the policy must give."""

from gateway.core.denial import Code, Denial, Refused
from gateway.management.approver import BY_ASKER, CALLER, approver_of
from gateway.management.asking import Wish
from gateway.management.raises import asker_object, request_object
from gateway.pipeline.answer import Answer
from gateway.web import request_models as models
from gateway.web.admin_api import actor_of, answered, body_of, query_of
from gateway.web.admin_models import NoQuery
from gateway.web.exchange import Request
from gateway.web.face import Face
from gateway.web.own_api import admitted


async def ask(face: Face, request: Request) -> Answer:
    caller = admitted(face, request)
    asked = await body_of(request, models.QuotaAsk)
    made = await face.control.requests.ask(caller, request.headers, wish_of(asked), CALLER)
    return answered(models.OwnQuotaRequest, asker_object(made), status=201)


async def list_own(face: Face, request: Request) -> Answer:
    caller = admitted(face, request)
    query_of(request, NoQuery)
    found = [asker_object(each) for each in face.control.requests.own(caller)]
    return answered(models.OwnQuotaRequests, {"requests": found})


async def show_own(face: Face, request: Request) -> Answer:
    caller = admitted(face, request)
    query_of(request, NoQuery)
    found = await face.control.requests.one_of(caller, request.parameters["request"])
    return answered(models.OwnQuotaRequest, asker_object(found))


async def withdraw_own(face: Face, request: Request) -> Answer:
    caller = admitted(face, request)
    await body_of(request, models.QuotaWithdraw)
    desk = face.control.requests
    found = await desk.one_of(caller, request.parameters["request"])
    return answered(models.OwnQuotaRequest, asker_object(await desk.withdraw(found.id, BY_ASKER)))


async def ask_for_key(face: Face, request: Request) -> Answer:
    """By a person on behalf of a key, who then counts among the askers."""
    asked = await body_of(request, models.QuotaAskFor)
    key = face.control.keys.find(asked.key)
    caller = face.plane.keys.caller(key.digest)
    if caller is None:
        raise Refused(Denial(Code.ROUTE_UNKNOWN, f"Key '{key.name}' is not known any more."))
    made = await face.control.requests.ask(caller, {}, wish_of(asked), actor_of(request))
    return answered(models.QuotaRequest, request_object(made), status=201)


async def list_requests(face: Face, request: Request) -> Answer:
    asked = query_of(request, models.QuotaRequestsQuery)
    found = await face.control.requests.listed(asked.state, asked.limit)
    return answered(models.QuotaRequests, {"requests": [request_object(each) for each in found]})


async def show_request(face: Face, request: Request) -> Answer:
    query_of(request, NoQuery)
    found = await face.control.requests.show(request.parameters["request"])
    return answered(models.QuotaRequest, request_object(found))


async def decide(face: Face, request: Request) -> Answer:
    asked = await body_of(request, models.QuotaDecision)
    desk, request_id, actor = face.control.requests, request.parameters["request"], actor_of(request)
    if asked.action == "withdraw":
        found = await desk.withdraw(request_id, approver_of(actor))
    elif asked.action == "reject":
        found = await desk.reject(request_id, approver_of(actor), asked.note)
    else:
        found = await desk.approve(request_id, approver_of(actor), asked.amount, asked.until, asked.note)
    return answered(models.QuotaRequest, request_object(found))


async def grant(face: Face, request: Request) -> Answer:
    asked = await body_of(request, models.QuotaGrant)
    name, approver = request.parameters["name"], approver_of(actor_of(request))
    found = await face.control.requests.grant(approver, name, asked.scope, asked.amount, asked.until, asked.reason)
    return answered(models.QuotaRequest, request_object(found), status=201)


def wish_of(asked: models.QuotaAsk) -> Wish:
    return Wish(asked.amount, asked.reason, asked.limit, asked.call, asked.scope, asked.until, asked.session)
