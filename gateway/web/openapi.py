"""The OpenAPI 3.1 document of the admin API, made from the table of its routes and the models that they use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gateway.web.admin_answers import Error
from gateway.web.admin_models import NoQuery, Query
from gateway.web.routes import Guard, Route

_REFERENCE: Final = "#/components/schemas/{model}"
_ACTOR: Final[Mapping[str, Any]] = {
    "name": "X-Comptroller-Actor",
    "in": "header",
    "required": False,
    "description": "Who asks for the change; the journal names `admin:<actor>`.",
    "schema": {"type": "string", "pattern": r"^[\x21-\x7e]{1,64}$"},
}


_SESSION: Final[Mapping[str, Any]] = {
    "name": "X-Comptroller-Session",
    "in": "header",
    "required": False,
    "description": "The session, or the token of a child session; else that of well-known agents' marks, or the key's.",
    "schema": {"type": "string"},
}


@dataclass(frozen=True, slots=True)
class Documented:
    """A route with what it takes and what it answers."""

    route: Route
    answer: type[BaseModel]
    body: type[BaseModel] | None = None
    query: type[Query] = NoQuery
    status: int = 200


def openapi(documented: Sequence[Documented], version: str) -> dict[str, Any]:
    models: list[type[BaseModel]] = [Error, *(each.answer for each in documented)]
    models += [each.body for each in documented if each.body is not None]
    ordered = sorted(set(models), key=lambda model: model.__name__)
    schemas = models_json_schema([(model, "validation") for model in ordered], ref_template=_REFERENCE)[1]
    paths: dict[str, dict[str, Any]] = {}
    for each in documented:
        path = each.route.path.replace("<", "{").replace(">", "}")
        paths.setdefault(path, {})[each.route.method.lower()] = _operation(each)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Comptroller admin API", "version": version},
        "security": [{"admin": []}],
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {
                "admin": {"type": "http", "scheme": "bearer"},
                "key": {"type": "http", "scheme": "bearer", "description": "A virtual key; x-api-key does as well."},
            },
        },
    }


def _operation(each: Documented) -> dict[str, Any]:
    route = each.route
    words = [part.strip("<>") for part in route.path.removeprefix("/api/v1/").split("/")]
    by_key = route.guard is Guard.KEY
    extra = [_SESSION] if by_key and each.body else [_ACTOR] if each.body else []
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": "_".join((route.method.lower(), *words)),
        "tags": [words[0]],
        "parameters": [*_in_path(route.path), *_in_query(each.query), *extra],
        "responses": {
            str(each.status): {"description": route.summary, "content": _json(each.answer)},
            "default": {"description": "Refused: see `error.code`.", "content": _json(Error)},
        },
    }
    if by_key:
        operation["security"] = [{"key": []}]
    if each.body is not None:
        operation["requestBody"] = {"required": True, "content": _json(each.body)}
    return operation


def _json(model: type[BaseModel]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _REFERENCE.format(model=model.__name__)}}}


def _in_path(path: str) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("<")]
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _in_query(query: type[Query]) -> list[dict[str, Any]]:
    properties: Mapping[str, dict[str, Any]] = query.model_json_schema().get("properties", {})
    found = []
    for name, schema in properties.items():
        rest = {word: value for word, value in schema.items() if word not in ("title", "description")}
        parameter = {"name": name, "in": "query", "required": False, "schema": rest}
        if "description" in schema:
            parameter["description"] = schema["description"]
        found.append(parameter)
    return found
