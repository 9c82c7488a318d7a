"""The admin API as its clients see it: guarded, strict about what it takes, true to its OpenAPI document."""

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # ships no types
import pytest

from gateway.web.admin_routes import ADMIN_ROUTES, DOCUMENTED
from gateway.web.routes import Guard, Route
from tests.management.opening import ADMIN_TOKEN, ALICE, ENVIRONMENT, POLICY, Opened, opening

API = [route for route in ADMIN_ROUTES if route.guard is Guard.ADMIN]
OWN = [route for route in ADMIN_ROUTES if route.guard is Guard.KEY]
KEY_SECRET = re.compile(r"cptr_sk_[0-9A-Za-z]{38}")


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Opened]:
    async with opening(tmp_path) as opened:
        yield opened


def path_of(route: Route) -> str:
    return re.sub(r"<\w+>", "alice", route.path)


@pytest.mark.parametrize("route", API, ids=lambda route: f"{route.method} {route.path}")
@pytest.mark.parametrize("token", ["", "wrong", ALICE, ADMIN_TOKEN[:-1], f"{ADMIN_TOKEN}x"])
async def test_every_route_needs_the_admin_token(node: Opened, route: Route, token: str) -> None:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    reply = await node.client.request(route.method, path_of(route), headers=headers, json={})
    assert reply.status_code == 401
    error = reply.json()["error"]
    assert error["code"] == ("key_unknown" if token else "key_missing")
    assert set(error) == {"message", "type", "param", "code", "comptroller"}


@pytest.mark.parametrize("route", OWN, ids=lambda route: f"{route.method} {route.path}")
@pytest.mark.parametrize("token", ["", "wrong", ADMIN_TOKEN, f"{ALICE}x"])
async def test_every_route_of_ones_own_needs_a_virtual_key(node: Opened, route: Route, token: str) -> None:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    reply = await node.client.request(route.method, route.path, headers=headers, json={})
    assert (reply.status_code, reply.json()["error"]["code"]) == (401, "key_unknown" if token else "key_missing")


async def test_what_a_key_asks_about_itself_has_a_rate(node: Opened) -> None:
    headers = {"authorization": f"Bearer {ALICE}"}
    codes = [(await node.client.get("/api/v1/me/history", headers=headers)).status_code for _ in range(60)]
    assert (codes[0], codes[-1]) == (200, 429)


async def test_refusals_of_the_token_are_counted(node: Opened) -> None:
    for _ in range(3):
        await node.client.get("/api/v1/keys", headers={"authorization": "Bearer wrong"})
    node.plane.refusals.flush(node.plane.clock.now_us() + 60_000_000)
    rows = (await node.admin("GET", "/api/v1/audit?kind=refusals")).json()["rows"]
    assert sum(row["doc"]["count"] for row in rows) == 3


STORY: tuple[tuple[str, str, Any, int], ...] = (
    ("GET", "/status", None, 200),
    ("GET", "/keys", None, 200),
    ("POST", "/keys", {"user": "carl", "limits": ["usd=5/day"], "models": ["small"], "expires_at": "2999-01-01"}, 201),
    ("GET", "/keys/carl", None, 200),
    ("POST", "/keys/carl", {"action": "rotate"}, 200),
    ("POST", "/keys/carl", {"action": "disable"}, 200),
    ("POST", "/keys/carl", {"action": "enable"}, 200),
    ("POST", "/keys/carl", {"action": "revoke"}, 200),
    ("GET", "/usage", None, 200),
    ("GET", "/usage?by=user,model,tag&since=2020-01-01&until=2999-01-01T00:00:00Z", None, 200),
    ("GET", "/sessions?key=alice&state=open&limit=5", None, 200),
    ("GET", "/sessions/{session}", None, 200),
    ("POST", "/sessions/{session}", {"action": "pause", "reason": "look"}, 200),
    ("POST", "/sessions/{session}", {"action": "resume"}, 200),
    ("POST", "/sessions/{session}", {"action": "stop"}, 200),
    ("POST", "/sessions/{session}/children", {"share": 50, "agent": "searcher"}, 402),
    ("POST", "/sessions/{session}", {"action": "resume"}, 200),
    ("POST", "/sessions/{session}/children", {"share": 50, "agent": "searcher", "expires_in_s": 60}, 201),
    ("POST", "/limits/user-day/grants", {"scope": "user:alice", "amount": 0.5, "reason": "a long day"}, 201),
    ("POST", "/limits/nothing/grants", {"scope": "user:alice", "amount": 0.5, "reason": "a long day"}, 404),
    ("POST", "/requests", {"key": "bob", "limit": "user-day", "amount": 1.5, "reason": "for bob", "until": "2h"}, 201),
    ("POST", "/me/requests", {"limit": "premium-day", "amount": 5, "reason": "a large book"}, 201),
    ("POST", "/me/requests", {"limit": "premium-day", "amount": 0.5, "reason": "half a request"}, 400),
    ("GET", "/me/requests", None, 200),
    ("GET", "/me/requests/{asked}", None, 200),
    ("GET", "/requests?state=pending&limit=5", None, 200),
    ("GET", "/requests/{asked}", None, 200),
    ("GET", "/requests/nothing", None, 404),
    ("POST", "/requests/{asked}", {"action": "approve", "amount": 3, "until": "1h", "note": "three will do"}, 200),
    ("POST", "/requests/{asked}", {"action": "reject"}, 400),
    ("POST", "/me/requests/{asked}", {"action": "withdraw"}, 200),
    ("POST", "/me/children", {"tokens": 100, "usd": 0.5}, 201),
    ("POST", "/me/children", {"usd": 0}, 400),
    ("GET", "/me/history", None, 200),
    ("GET", "/me/history?by=hour&last=48", None, 200),
    ("POST", "/me/close", {}, 200),
    ("POST", "/me/close", {"session": "nothing"}, 404),
    ("POST", "/sessions/{session}", {"action": "close"}, 200),
    ("POST", "/stops", {"kind": "user", "name": "bob", "action": "stop", "reason": "look"}, 200),
    ("GET", "/stops", None, 200),
    ("POST", "/stops", {"kind": "user", "name": "bob", "action": "resume"}, 200),
    ("GET", "/limits", None, 200),
    ("GET", "/limits?name=user-day", None, 200),
    ("GET", "/limits/user-day", None, 200),
    ("POST", "/alerts", None, 200),
    ("GET", "/alerts?limit=5", None, 200),
    ("GET", "/alerts?state=asleep", None, 400),
    ("GET", "/alerts/nothing", None, 404),
    ("GET", "/alerts/{alert}", None, 200),
    ("POST", "/alerts/{alert}", {"action": "retry"}, 200),
    ("GET", "/audit?limit=5&text=carl", None, 200),
    ("GET", "/audit/verify", None, 200),
    ("GET", "/policy/check", None, 200),
    ("GET", "/policy/test", None, 200),
    ("POST", "/policy/explain", {"key": "alice", "model": "large"}, 200),
    ("POST", "/reload", None, 200),
    ("GET", "/keys/nobody", None, 404),
    ("GET", "/sessions/nothing", None, 404),
    ("POST", "/sessions/nothing/children", {"tokens": 1}, 404),
    ("GET", "/limits/nothing", None, 404),
    ("POST", "/keys", {"name": "alice"}, 400),
    ("POST", "/sessions/{session}", {"action": "pause"}, 400),
)


async def test_answers_are_what_the_document_says(node: Opened) -> None:
    """The whole story of a node through its API; each answer is held against the document's schema of it."""
    document = (await node.client.get("/api/openapi.json")).json()
    await node.chat(ALICE)
    session = await node.session_id("run")
    alert = (await node.admin("POST", "/api/v1/alerts")).json()["id"]
    wish = {"limit": "premium-day", "amount": 5, "reason": "a large book"}
    by_alice = {"authorization": f"Bearer {ALICE}"}
    asked = (await node.admin("POST", "/api/v1/me/requests", wish, **by_alice)).json()["request"]
    ids = {"session": session, "alert": alert, "asked": asked}
    told = set()
    for method, path, body, status in STORY:
        own = {"authorization": f"Bearer {ALICE}", "x-comptroller-session": "run"} if path.startswith("/me/") else {}
        reply = await node.admin(method, f"/api/v1{path.format(**ids)}", body, **own)
        assert reply.status_code == status, (method, path, reply.text)
        assert reply.headers["content-type"] == "application/json"
        operation, template = operation_of(document, method, path)
        answer = operation["responses"].get(str(status), operation["responses"]["default"])
        jsonschema.validate(reply.json(), resolved(answer["content"]["application/json"]["schema"], document))
        told.add((method, template))
    assert told == {(each.route.method, in_document(each.route)) for each in DOCUMENTED}


def in_document(route: Route) -> str:
    return route.path.replace("<", "{").replace(">", "}")


def operation_of(document: dict[str, Any], method: str, path: str) -> tuple[dict[str, Any], str]:
    asked = f"/api/v1{path.partition('?')[0]}".split("/")
    for template, operations in document["paths"].items():
        parts = template.split("/")
        same = len(parts) == len(asked) and all(p == a or p.startswith("{") for p, a in zip(parts, asked, strict=True))
        if same and method.lower() in operations:
            return operations[method.lower()], template
    raise AssertionError(f"{method} {path} is not in the document")


def resolved(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """The schema with the document's components where its references look for them."""
    return {**schema, "components": document["components"]}


async def test_the_document_is_sound(node: Opened) -> None:
    reply = await node.client.get("/api/openapi.json")
    document = reply.json()
    assert document["openapi"] == "3.1.0"
    assert set(document["info"]) >= {"title", "version"}
    schemas = document["components"]["schemas"]
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    references = [value for key, value in walk(document) if key == "$ref"]
    assert references
    assert {reference.removeprefix("#/components/schemas/") for reference in references} <= schemas.keys()
    operations = [
        (template, operation) for template, methods in document["paths"].items() for operation in methods.values()
    ]
    ids = [operation["operationId"] for _, operation in operations]
    assert len(set(ids)) == len(ids) == len(DOCUMENTED)
    for template, operation in operations:
        named = [p["name"] for p in operation["parameters"] if p["in"] == "path"]
        assert named == re.findall(r"{(\w+)}", template)
        assert all(p["required"] for p in operation["parameters"] if p["in"] == "path")
        assert operation["summary"]
        assert {"default"} < set(operation["responses"])
    assert document["components"]["securitySchemes"]["admin"] == {"type": "http", "scheme": "bearer"}
    by_key = {template for template, operation in operations if operation.get("security") == [{"key": []}]}
    assert by_key == {in_document(route) for route in OWN}


def walk(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key, inner
            yield from walk(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from walk(inner)


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "/keys", {"user": "carl", "role": "admin"}, "role"),
        ("POST", "/keys", {"user": "carl", "id": "key_1"}, "id"),
        ("POST", "/keys", {"user": "carl", "state": "active"}, "state"),
        ("POST", "/keys", {"user": 7}, "user"),
        ("POST", "/keys", {"models": []}, "models"),
        ("POST", "/keys", {"may_assert_user": "yes"}, "may_assert_user"),
        ("POST", "/keys", [], "body"),
        ("POST", "/keys/alice", {"action": "promote"}, "action"),
        ("POST", "/keys/alice", {"action": "disable", "user": "eve"}, "user"),
        ("POST", "/keys/alice", {}, "action"),
        ("POST", "/sessions/ses_1", {"action": "archive"}, "action"),
        ("POST", "/sessions/ses_1", {"action": "stop", "reason": "x" * 501}, "reason"),
        ("POST", "/policy/explain", {"subjects": ["user:a"], "action": "portal:keys"}, "action"),
        ("GET", "/usage?sinec=2026-01-01", None, "sinec"),
        ("GET", "/keys?limit=5", None, "limit"),
        ("GET", "/sessions?limit=0", None, "limit"),
        ("GET", "/sessions?limit=many", None, "limit"),
        ("GET", "/sessions?state=asleep", None, "state"),
        ("GET", "/audit?limit=10001", None, "limit"),
    ],
)
async def test_what_is_not_known_is_refused_by_name(
    node: Opened, method: str, path: str, body: Any, field: str
) -> None:
    before = node.plane.keys.all()
    reply = await node.admin(method, f"/api/v1{path}", body)
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert (error["code"], error["param"]) == ("request_malformed", field)
    assert node.plane.keys.all() == before


@pytest.mark.parametrize(
    "content", ['{"user": "a", "user": "b"}', '{"user": NaN}', '{"user": "\\ud800"}', "{", "", "[" * 100 + "]" * 100]
)
async def test_rule_34_bodies_are_read_as_strictly_as_calls(node: Opened, content: str) -> None:
    headers = {"authorization": f"Bearer {ADMIN_TOKEN}"}
    reply = await node.client.post("/api/v1/keys", content=content, headers=headers)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "request_malformed")


@pytest.mark.parametrize(
    "path",
    [
        "/usage?since=yesterday",
        "/usage?by=prompt",
        "/usage?by=",
        "/audit?until=2026-13-01",
        "/usage?since=0001-01-01T00:00:00%2B24:00",
    ],
)
async def test_what_cannot_be_asked_is_a_usage_error(node: Opened, path: str) -> None:
    reply = await node.admin("GET", f"/api/v1{path}")
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "request_malformed")


@pytest.mark.parametrize(("header", "actor"), [("eve@example.com", "admin:eve@example.com"), (None, "admin")])
async def test_the_actor_is_written_down(node: Opened, header: str | None, actor: str) -> None:
    headers = {} if header is None else {"x-comptroller-actor": header}
    await node.admin("POST", "/api/v1/keys", {"name": "carl"}, **headers)
    rows = (await node.admin("GET", "/api/v1/audit?kind=key&text=carl")).json()["rows"]
    assert [row["doc"]["actor"] for row in rows] == [actor]


@pytest.mark.parametrize("header", ["two words", "x" * 65, " ", "\u00e4"])
async def test_an_actor_that_could_pass_for_something_else_is_refused(node: Opened, header: str) -> None:
    headers = {b"authorization": f"Bearer {ADMIN_TOKEN}".encode(), b"x-comptroller-actor": header.encode("latin-1")}
    reply = await node.client.post("/api/v1/keys", json={"name": "carl"}, headers=headers)
    assert reply.status_code == 400
    assert node.plane.keys.named("carl") is None


async def test_a_secret_is_shown_once(node: Opened) -> None:
    made = await node.admin("POST", "/api/v1/keys", {"name": "carl"})
    assert made.status_code == 201
    assert KEY_SECRET.fullmatch(made.json()["secret"])
    assert made.headers["cache-control"] == "no-store"
    for path in ("/keys", "/keys/carl", "/audit?limit=100", "/status"):
        assert not KEY_SECRET.search((await node.admin("GET", f"/api/v1{path}")).text)


async def test_without_books_the_answer_is_503_and_nothing_changes(node: Opened) -> None:
    await node.application.node.books.close()
    reply = await node.admin("POST", "/api/v1/keys", {"name": "carl"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "ledger_unavailable")
    assert "retry-after" in reply.headers
    assert node.plane.keys.named("carl") is None


async def test_a_reload_takes_everything_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    rows = tmp_path / "policies" / "10-test.csv"
    async with opening(tmp_path) as node:
        version = (await node.admin("GET", "/api/v1/status")).json()["policy_version"]
        rows.write_text(f"{POLICY}p, user:alice, small\n")
        refused = (await node.admin("POST", "/api/v1/reload")).json()
        assert refused["ok"] is False
        assert "10-test.csv:5" in refused["findings"][0]
        found = (await node.admin("GET", "/api/v1/policy/check")).json()["findings"]
        assert [(finding["path"], finding["line"]) for finding in found] == [("policies/10-test.csv", 5)]
        assert (await node.admin("GET", "/api/v1/status")).json()["policy_version"] == version
        rows.write_text(f"{POLICY}p, user:bob, *, *, model:invoke, , deny\n")
        assert (await node.admin("POST", "/api/v1/reload")).json() == {"ok": True, "findings": []}
        assert (await node.admin("GET", "/api/v1/status")).json()["policy_version"] != version
        question = {"key": "bob", "model": "small"}
        assert (await node.admin("POST", "/api/v1/policy/explain", question)).json()["allowed"] is False


async def test_unknown_paths_below_the_api_are_404_in_the_one_shape(node: Opened) -> None:
    for method, path in (("GET", "/api/v1/nothing"), ("DELETE", "/api/v1/keys"), ("POST", "/api/openapi.json")):
        reply = await node.admin(method, path)
        assert reply.status_code in (404, 405)
        assert reply.json()["error"]["code"] == "route_unknown"
