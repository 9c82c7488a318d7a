"""Every route of the admin API, and the OpenAPI document that is made from this table."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from pydantic import BaseModel

from gateway.pipeline.answer import Answer, Whole
from gateway.web import admin_api as api
from gateway.web.admin_models import ExplainQuestion, KeyChange, KeyCreate, SessionChange
from gateway.web.exchange import Request
from gateway.web.face import Face
from gateway.web.routes import Guard, Route

_SCHEMA_REF: Final = "#/components/schemas/{model}"


@dataclass(frozen=True, slots=True)
class Documented:
    """What the OpenAPI document says of a route beyond its table row: its body, and the names of query parameters."""

    route: Route
    body: type[BaseModel] | None = None
    query: tuple[str, ...] = ()


def _get(path: str, handler: Any, summary: str, *query: str) -> Documented:
    return Documented(Route("GET", path, Guard.ADMIN, api.admin(handler), summary), None, query)


def _post(path: str, handler: Any, summary: str, body: type[BaseModel] | None = None) -> Documented:
    return Documented(Route("POST", path, Guard.ADMIN, api.admin(handler), summary), body)


DOCUMENTED: Final = (
    _get("/api/v1/status", api.status, "What is in force and how the node is"),
    _get("/api/v1/keys", api.list_keys, "All virtual keys, without their secrets"),
    _post("/api/v1/keys", api.create_key, "Make a key; its secret is in the answer, once", KeyCreate),
    _post("/api/v1/keys/<key>", api.change_key, "Rotate, disable, enable or revoke a key", KeyChange),
    _get("/api/v1/usage", api.usage, "Who spent what", "by", "since", "until"),
    _get("/api/v1/sessions", api.list_sessions, "Sessions, newest first", "key", "state", "limit"),
    _get("/api/v1/sessions/<session>", api.show_session, "One session with its live limits"),
    _post("/api/v1/sessions/<session>", api.change_session, "Pause, resume or stop a session", SessionChange),
    _get("/api/v1/limits", api.list_limits, "Every live counter", "name"),
    _get(
        "/api/v1/audit",
        api.search_audit,
        "Rows of the journal",
        "since",
        "until",
        "kind",
        "call",
        "session",
        "text",
        "limit",
    ),
    _get("/api/v1/audit/verify", api.verify_audit, "Verify the hash chain and the tables derived from it"),
    _get("/api/v1/policy/check", api.check_policy, "Everything that is wrong with the policy on disk"),
    _get("/api/v1/policy/test", api.run_policy_tests, "What tests.yaml expects, and what the policy says"),
    _post("/api/v1/policy/explain", api.explain_policy, "Who may do what, and by which row", ExplainQuestion),
    _post("/api/v1/reload", api.reload, "Take up configuration and policy from disk, whole or not at all"),
)


def openapi(documented: tuple[Documented, ...]) -> dict[str, Any]:
    """OpenAPI 3.1."""
    paths: dict[str, dict[str, Any]] = {}
    schemas: dict[str, Any] = {}
    for each in documented:
        path = each.route.path.replace("<", "{").replace(">", "}")
        paths.setdefault(path, {})[each.route.method.lower()] = _operation(each, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Comptroller admin API", "version": "1"},
        "security": [{"admin": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"admin": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(each: Documented, schemas: dict[str, Any]) -> dict[str, Any]:
    route = each.route
    named = [part[1:-1] for part in route.path.split("/") if part.startswith("<")]
    parameters: list[Mapping[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in named
    ]
    parameters += [{"name": name, "in": "query", "schema": {"type": "string"}} for name in each.query]
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": f"{route.method.lower()}{route.path.removeprefix('/api/v1').replace('/', '_')}".translate(
            str.maketrans("", "", "<>")
        ),
        "parameters": parameters,
        "responses": {"200": {"description": "Done"}, "default": {"description": "The error shape of docs/errors.md"}},
    }
    if each.body is not None:
        schema = each.body.model_json_schema(ref_template=_SCHEMA_REF)
        schemas.update(schema.pop("$defs", {}))
        schemas[each.body.__name__] = schema
        reference = {"$ref": _SCHEMA_REF.format(model=each.body.__name__)}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": reference}}}
    return operation


_DOCUMENT: Final = orjson.dumps(openapi(DOCUMENTED))


async def openapi_document(face: Face, request: Request) -> Answer:
    """GET /api/openapi.json: tells nothing that the source does not."""
    return Whole(200, {"content-type": "application/json"}, _DOCUMENT)


ADMIN_ROUTES: Final = (
    *(each.route for each in DOCUMENTED),
    Route("GET", "/api/openapi.json", Guard.PUBLIC, openapi_document, "OpenAPI document of the admin API"),
)
