"""Every route of the admin API with what it takes and answers, and the OpenAPI document made from this table."""

from importlib.metadata import version
from typing import Any, Final

import orjson
from pydantic import BaseModel

from gateway.pipeline.answer import Answer, Whole
from gateway.web import admin_answers as answers
from gateway.web import admin_api as api
from gateway.web import admin_models as asked
from gateway.web import limit_answers, request_models
from gateway.web import own_api as own
from gateway.web import request_api as requests
from gateway.web.exchange import Request
from gateway.web.face import Face
from gateway.web.openapi import Documented, openapi
from gateway.web.routes import Guard, Route
from gateway.web.status_answers import Status


def _get(
    path: str, handler: Any, summary: str, answer: type[BaseModel], query: type[asked.Query] = asked.NoQuery
) -> Documented:
    return Documented(_route("GET", path, handler, summary), answer, None, query)


def _post(
    path: str, handler: Any, summary: str, answer: type[BaseModel], body: type[BaseModel] | None, status: int = 200
) -> Documented:
    return Documented(_route("POST", path, handler, summary), answer, body, status=status)


def _own(  # noqa: PLR0917 - a row of the table
    method: str,
    path: str,
    handler: Any,
    summary: str,
    answer: type[BaseModel],
    body: type[BaseModel] | None = None,
    query: type[asked.Query] = asked.NoQuery,
    status: int = 200,
) -> Documented:
    """For a virtual key, about itself."""
    route = Route(method, f"/api/v1/me{path}", Guard.KEY, api.managed(handler), summary)
    return Documented(route, answer, body, query, status)


def _route(method: str, path: str, handler: Any, summary: str) -> Route:
    return Route(method, f"/api/v1{path}", Guard.ADMIN, api.admin(handler), summary)


DOCUMENTED: Final = (
    _get("/status", api.status, "What is in force and how the node is", Status),
    _get("/keys", api.list_keys, "All virtual keys, without their secrets", answers.Keys),
    _post("/keys", api.create_key, "Make a key; its secret is shown once", answers.KeyWithSecret, asked.KeyCreate, 201),
    _get("/keys/<key>", api.show_key, "One virtual key", answers.Key),
    _post(
        "/keys/<key>",
        api.change_key,
        "Rotate, disable, enable or revoke a key",
        answers.KeyWithSecret,
        asked.KeyChange,
    ),
    _get("/usage", api.usage, "Who spent what", answers.Usage, asked.UsageQuery),
    _get("/sessions", api.list_sessions, "Sessions, last active first", answers.Sessions, asked.SessionsQuery),
    _get("/sessions/<session>", api.show_session, "One session, its limits and last denials", answers.SessionDetail),
    _post(
        "/sessions/<session>",
        api.change_session,
        "Pause, resume or stop a session",
        answers.SessionState,
        asked.SessionChange,
    ),
    _post(
        "/sessions/<session>/children",
        own.open_child_of,
        "Open a child session; its token is told once",
        answers.ChildSession,
        asked.ChildOpen,
        201,
    ),
    _get("/stops", api.list_stops, "Agents, keys, users and teams that are held as a whole", answers.Stops),
    _post(
        "/stops",
        api.change_stop,
        "Pause, resume or stop all of an agent, key, user or team",
        answers.StopChanged,
        asked.StopChange,
    ),
    _get("/limits", api.list_limits, "Every live counter", limit_answers.Counters, asked.LimitsQuery),
    _get("/limits/<name>", api.show_limit, "One limit and its live counters", limit_answers.Limit),
    _post(
        "/limits/<name>/grants",
        requests.grant,
        "Raise a limit for one scope, for a time",
        request_models.QuotaRequest,
        request_models.QuotaGrant,
        201,
    ),
    _get(
        "/requests",
        requests.list_requests,
        "Requests for more, and raises given unasked, newest first",
        request_models.QuotaRequests,
        request_models.QuotaRequestsQuery,
    ),
    _post(
        "/requests",
        requests.ask_for_key,
        "Ask for more on behalf of a key",
        request_models.QuotaRequest,
        request_models.QuotaAskFor,
        201,
    ),
    _get("/requests/<request>", requests.show_request, "One request", request_models.QuotaRequest),
    _post(
        "/requests/<request>",
        requests.decide,
        "Approve, reject or withdraw a request",
        request_models.QuotaRequest,
        request_models.QuotaDecision,
    ),
    _get("/alerts", api.list_alerts, "Alerts and how far they got, newest first", answers.Alerts, asked.AlertsQuery),
    _post("/alerts", api.test_alerts, "Send a test by every way out and wait for it", answers.Alert, None),
    _get("/alerts/<alert>", api.show_alert, "One alert", answers.Alert),
    _post("/alerts/<alert>", api.change_alert, "Try an alert anew", answers.Alert, asked.AlertChange),
    _get("/audit", api.search_audit, "Rows of the journal, newest first", answers.AuditRows, asked.AuditQuery),
    _get("/audit/verify", api.verify_audit, "Walk the hash chain and recount what is derived", answers.Verified),
    _get("/policy/check", api.check_policy, "What is wrong with the policy on disk", answers.Findings),
    _get("/policy/test", api.run_policy_tests, "The policy on disk against tests.yaml", answers.TestResults),
    _post(
        "/policy/explain",
        api.explain_policy,
        "Who may do what under the policy in force, and why",
        answers.Explanation,
        asked.ExplainQuestion,
    ),
    _post("/reload", api.reload, "Take up what is on disk, whole or not at all", answers.Reloaded, None),
    _own(
        "POST",
        "/children",
        own.open_own_child,
        "Open a child of one's own session",
        answers.ChildSession,
        asked.OwnChildOpen,
        status=201,
    ),
    _own("POST", "/close", own.close_own, "Close one's own session and all below it", answers.Closed, asked.OwnSession),
    _own(
        "POST",
        "/requests",
        requests.ask,
        "Ask for more of a limit; shows the request that is there",
        request_models.OwnQuotaRequest,
        request_models.QuotaAsk,
        status=201,
    ),
    _own("GET", "/requests", requests.list_own, "What this key asked for", request_models.OwnQuotaRequests),
    _own("GET", "/requests/<request>", requests.show_own, "One request of this key", request_models.OwnQuotaRequest),
    _own(
        "POST",
        "/requests/<request>",
        requests.withdraw_own,
        "Ask for it no longer",
        request_models.OwnQuotaRequest,
        request_models.QuotaWithdraw,
    ),
    _own("GET", "/history", own.own_history, "What this key used", answers.History, query=asked.HistoryQuery),
)

_DOCUMENT: Final = orjson.dumps(openapi(DOCUMENTED, version("comptroller")))


async def openapi_document(face: Face, request: Request) -> Answer:
    """GET /api/openapi.json: tells nothing that the source does not."""
    return Whole(200, {"content-type": "application/json"}, _DOCUMENT)


ADMIN_ROUTES: Final = (
    *(each.route for each in DOCUMENTED),
    Route("GET", "/api/openapi.json", Guard.PUBLIC, openapi_document, "OpenAPI document of the admin API"),
)
