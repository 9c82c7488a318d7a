"""The edge, over both servers and both lanes: the same answers to well-formed, malformed and hostile requests."""

import gzip
import json
import re
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.clients import ask, parsed, post, raw, read_reply, scripted, sdk
from tests.support.fixtures import UpstreamProcess
from tests.support.gateway import ALICE, BOB, GatewayProcess

pytestmark = pytest.mark.xdist_group("e2e-edges")

GOOD = json.dumps(ask()).encode()
BODY_MAX = 1024 * 1024


@pytest.fixture(scope="module")
def shared(
    lane: tuple[str, bool], tmp_path_factory: pytest.TempPathFactory, upstream: UpstreamProcess
) -> Iterator[GatewayProcess]:
    server, fast_path = lane
    sizes = {"body_max": "1MiB", "header_max": "16KiB"}
    expired = {"name": "expired", "user": "old", "expires_at": "2020-01-01"}
    off = {"name": "off", "user": "off", "enabled": False}
    with GatewayProcess(
        tmp_path_factory.mktemp("edges"),
        upstream.base_url,
        server=server,
        fast_path=fast_path,
        sizes=sizes,
        keys=(ALICE, BOB, expired, off),
        models=["mock-403", "mock-400", "mock-500"],
    ) as gateway:
        yield gateway


@pytest.fixture
def gateway(shared: GatewayProcess, clean_upstream: UpstreamProcess) -> GatewayProcess:
    return shared


def told(error: Any) -> set[str]:
    """The fields of an error in the OpenAI shape."""
    return set(error["error"])


OPENAI_ERROR = {"message", "type", "param", "code", "comptroller"}


def head(method: str, path: str, key: str, *lines: str) -> bytes:
    text = [f"{method} {path} HTTP/1.1", "host: gateway", f"authorization: Bearer {key}", *lines, "", ""]
    return "\r\n".join(text).encode("latin-1")


def test_a_reply_says_what_governed_it(gateway):
    answer = parsed(raw(gateway, post(gateway, GOOD, headers="x-comptroller-session: s-1\r\n")))
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert re.fullmatch(r"call_[0-9a-z]{25}", answer.headers["x-comptroller-call"])
    assert answer.headers["x-comptroller-session"].startswith("ses_")
    assert answer.headers["x-comptroller-cost-usd"] == "0.000012"
    assert "server" not in answer.headers
    assert "set-cookie" not in answer.headers


def test_a_stream_is_chunked_and_not_stored(gateway):
    received = raw(gateway, post(gateway, json.dumps(ask(stream=True)).encode())).decode()
    first, _, rest = received.partition("\r\n\r\n")
    assert "text/event-stream" in first.lower()
    assert "no-cache" in first.lower()
    assert "x-comptroller-cost-usd" not in first.lower()
    assert "data: [DONE]" in rest


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/nothing"),
        ("POST", "/v1/batches"),
        ("GET", "/v1/files"),
        ("POST", "/"),
        ("GET", "/v1/chat/completions"),
        ("DELETE", "/v1/models"),
        ("PUT", "/v1/embeddings"),
        ("POST", "/v1/chat/completions/"),
        ("POST", "/v1//chat/completions"),
        ("OPTIONS", "/v1/chat/completions"),
        ("GET", "/v1/models/../../etc/passwd"),
        ("GET", "/static/x"),
    ],
)
def test_what_is_not_served_is_404_in_the_openai_shape_and_never_forwarded(gateway, upstream, method, path):
    answer = parsed(raw(gateway, head(method, path, gateway.keys["alice"], "content-length: 0")))
    assert answer.status == 404
    assert told(answer.json) == OPENAI_ERROR
    assert answer.json["error"]["code"] == "route_unknown"
    assert upstream.log() == []


@pytest.mark.parametrize(
    ("key", "code"),
    [(None, "key_missing"), ("nonsense", "key_unknown"), ("expired", "key_expired"), ("off", "key_disabled")],
)
def test_a_bad_key_is_401_whatever_the_route(gateway, upstream, key, code):
    secret = gateway.keys.get(key, key)
    line = [] if secret is None else [f"authorization: Bearer {secret}"]
    for method, path in (("POST", "/v1/chat/completions"), ("POST", "/v1/embeddings"), ("GET", "/v1/models")):
        text = [f"{method} {path} HTTP/1.1", "host: gateway", *line, f"content-length: {len(GOOD)}", "", ""]
        answer = parsed(raw(gateway, "\r\n".join(text).encode() + GOOD))
        assert (answer.status, answer.code) == (401, code)
        assert answer.headers["x-should-retry"] == "false"
    assert upstream.log() == []


def test_rule_31_two_different_credentials_are_401(gateway, upstream):
    other = f"x-api-key: {gateway.keys['bob']}\r\n"
    assert parsed(raw(gateway, post(gateway, GOOD, headers=other))).status == 401
    same = f"x-api-key: {gateway.keys['alice']}\r\n"
    assert parsed(raw(gateway, post(gateway, GOOD, headers=same))).status == 200
    assert len(upstream.log()) == 1


@pytest.mark.parametrize("header", ["x-api-key", "x-goog-api-key", "api-key"])
def test_the_key_is_taken_from_the_headers_of_other_formats_too(gateway, header):
    text = ["POST /v1/chat/completions HTTP/1.1", "host: gateway", f"{header}: {gateway.keys['bob']}"]
    request = "\r\n".join([*text, f"content-length: {len(GOOD)}", "", ""]).encode() + GOOD
    assert parsed(raw(gateway, request)).status == 200


def _nested(depth: int) -> bytes:
    return b'{"model":"small","messages":' + b"[" * depth + b"]" * depth + b"}"


MALFORMED = {
    "not JSON": b"hello",
    "nothing": b"",
    "half": GOOD[:-3],
    "a list": b"[]",
    "a string": b'"hi"',
    "null": b"null",
    "duplicate key": GOOD[:-1] + b', "model": "small"}',
    "duplicate key far down": b'{"model":"small","messages":[{"role":"user","content":"a","content":"b"}]}',
    "duplicate key in other letters": (
        b'{"model":"small","messages":[{"role":"user","\\u0072ole":"system","content":"a"}]}'
    ),
    "NaN": b'{"model":"small","messages":[{"role":"user","content":"a"}],"temperature":NaN}',
    "Infinity": b'{"model":"small","messages":[{"role":"user","content":"a"}],"temperature":Infinity}',
    "1e999": b'{"model":"small","messages":[{"role":"user","content":"a"}],"temperature":1e999}',
    "a very long integer": b'{"model":"small","messages":[{"role":"user","content":"a"}],"seed":' + b"9" * 5000 + b"}",
    "invalid UTF-8": b'{"model":"small","messages":[{"role":"user","content":"\xff\xfe"}]}',
    "overlong UTF-8": b'{"model":"small","messages":[{"role":"user","content":"\xc0\xaf"}]}',
    "lone surrogate": b'{"model":"small","messages":[{"role":"user","content":"\\ud800"}]}',
    "raw surrogate": b'{"model":"small","messages":[{"role":"user","content":"\xed\xa0\x80"}]}',
    "depth bomb": _nested(100_000),
    "depth above the bound": _nested(2_000),
    "too many tokens": b'{"model":"small","messages":[' + b"0," * 100_001 + b"0]}",
    "trailing text": GOOD + b" x",
    "two documents": GOOD + GOOD,
    "no model": b'{"messages":[{"role":"user","content":"a"}]}',
    "no messages": b'{"model":"small"}',
    "messages of the wrong kind": b'{"model":"small","messages":"hello"}',
    "two different caps": (
        b'{"model":"small","messages":[{"role":"user","content":"a"}],"max_tokens":1,"max_completion_tokens":2}'
    ),
    "a negative cap": b'{"model":"small","messages":[{"role":"user","content":"a"}],"max_tokens":-1}',
    "a cap that is text": b'{"model":"small","messages":[{"role":"user","content":"a"}],"max_tokens":"10"}',
    "n of a million": b'{"model":"small","messages":[{"role":"user","content":"a"}],"n":1000000}',
    "stream as text": b'{"model":"small","messages":[{"role":"user","content":"a"}],"stream":"yes"}',
}


@pytest.mark.parametrize("name", MALFORMED)
def test_rule_34_a_malformed_body_is_400_in_the_openai_shape(gateway, upstream, name):
    answer = parsed(raw(gateway, post(gateway, MALFORMED[name])))
    assert answer.status == 400, answer.body
    assert told(answer.json) == OPENAI_ERROR
    assert answer.json["error"]["code"] == "request_malformed"
    assert answer.headers["x-should-retry"] == "false"
    assert upstream.log() == []


@pytest.mark.parametrize("field", ["web_search_options", "prediction", "audio", "provider", "api_base", "models"])
def test_rule_7_a_field_with_authority_is_refused_by_name(gateway, upstream, field):
    answer = parsed(raw(gateway, post(gateway, json.dumps(ask(**{field: {"a": 1}})).encode())))
    assert (answer.status, answer.code) == (400, "field_unsupported")
    assert answer.json["error"]["param"] == field
    assert upstream.log() == []


def test_rule_7_other_fields_pass_through_in_both_directions(gateway, upstream):
    fields = {"temperature": 0.25, "x_future_field": {"deep": [1, 2.5, None, "ü", True]}, "logit_bias": {"50256": -100}}
    answer = parsed(raw(gateway, post(gateway, json.dumps(ask(**fields)).encode())))
    (row,) = upstream.log()
    assert {name: row.json[name] for name in fields} == fields
    assert answer.json["x_unknown_reply_field"] == {"kept": True}


def test_a_body_above_the_bound_is_413_before_it_is_read(gateway, upstream):
    answer = parsed(
        raw(gateway, head("POST", "/v1/chat/completions", gateway.keys["alice"], "content-length: 99999999"))
    )
    assert (answer.status, answer.code) == (413, "request_too_large")
    assert upstream.log() == []


def test_a_chunked_body_above_the_bound_is_413(gateway, upstream):
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    request = head("POST", "/v1/chat/completions", gateway.keys["alice"], "transfer-encoding: chunked") + chunk * 17
    answer = parsed(raw(gateway, request))
    assert (answer.status, answer.code) == (413, "request_too_large")
    assert upstream.log() == []


def test_a_body_up_to_the_bound_is_served(gateway, upstream):
    body = json.dumps(ask("x" * (BODY_MAX - 200))).encode()
    assert parsed(raw(gateway, post(gateway, body))).status == 200
    assert len(upstream.log()[0].body) > BODY_MAX - 300


def test_a_body_in_slow_pieces_is_served(gateway):
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
        request = post(gateway, GOOD)
        for at in range(0, len(request), 60):
            connection.sendall(request[at : at + 60])
            time.sleep(0.01)
        assert parsed(read_reply(connection)).status == 200


def test_a_client_that_leaves_before_its_body_is_whole_leaves_nothing(gateway, upstream):
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
        connection.sendall(post(gateway, GOOD)[:-10])
    assert parsed(raw(gateway, post(gateway, GOOD))).status == 200
    assert len(upstream.log()) == 1
    gateway.quiesce()


SMUGGLED = b"0\r\n\r\nPOST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"


@pytest.mark.parametrize(
    "lines",
    [
        ["content-length: 6", "transfer-encoding: chunked"],
        ["transfer-encoding: chunked", "content-length: 6"],
        ["content-length: 6", "content-length: 7"],
        ["transfer-encoding: chunked", "transfer-encoding: identity"],
        ["transfer-encoding: xchunked"],
    ],
)
def test_ambiguous_framing_is_refused_and_the_connection_closed(gateway, upstream, lines):
    request = head("POST", "/v1/chat/completions", gateway.keys["alice"], *lines) + SMUGGLED
    received = raw(gateway, request, until_close=True)
    assert received.count(b"HTTP/1.1 ") <= 1, "a second request was served"
    assert not received or parsed(received).status in (400, 501)
    assert upstream.log() == []


@pytest.mark.parametrize("name", ["authorization", "host", "content-type"])
def test_a_header_that_must_be_single_is_refused_twice(gateway, upstream, name):
    twice = f"{name}: one\r\n"
    answer = parsed(raw(gateway, post(gateway, GOOD, headers=twice)))
    assert answer.status == 400
    assert upstream.log() == []


def test_large_headers_are_refused(gateway, upstream):
    for extra in (f"x-filler: {'f' * 20_000}\r\n", "".join(f"x-{n}: 1\r\n" for n in range(150))):
        answer = parsed(raw(gateway, post(gateway, GOOD, headers=extra)))
        assert answer.status in (413, 431)
    assert upstream.log() == []


@pytest.mark.parametrize("path", ["/v1/chat/completions", f"/openai/deployments/{ask()['model']}/chat/completions"])
def test_a_body_in_gzip_is_read_and_goes_on_plain(gateway, upstream, path):
    request = post(gateway, gzip.compress(GOOD), path=path, headers="content-encoding: GZIP\r\n")
    assert parsed(raw(gateway, request)).status == 200
    (row,) = upstream.log()
    assert row.json["messages"] == json.loads(GOOD)["messages"]
    assert row.header("content-encoding") is None


@pytest.mark.parametrize(
    ("coding", "body", "status"),
    [
        ("gzip", GOOD, 400),
        ("gzip", gzip.compress(GOOD)[:-9], 400),
        ("gzip", gzip.compress(GOOD) + b"x", 400),
        ("gzip", gzip.compress(b" " * 8 * BODY_MAX + GOOD), 413),
        ("br", GOOD, 400),
        ("gzip, gzip", gzip.compress(gzip.compress(GOOD)), 400),
    ],
    ids=["not gzip", "cut", "more behind", "bomb", "other coding", "two codings"],
)
def test_an_encoded_body_that_cannot_be_read_is_refused(gateway, upstream, coding, body, status):
    answer = parsed(raw(gateway, post(gateway, body, headers=f"content-encoding: {coding}\r\n")))
    assert answer.status == status
    assert upstream.log() == []


@pytest.mark.parametrize("value", ["a b", "", "x" * 129, "cptr_ss_forged", "\xfc"])
def test_a_bad_session_id_is_refused(gateway, upstream, value):
    answer = parsed(raw(gateway, post(gateway, GOOD, headers=f"x-comptroller-session: {value}\r\n")))
    assert (answer.status, answer.code) == (400, "request_malformed")
    assert upstream.log() == []


@pytest.mark.parametrize(("model", "status"), [("mock-400", 400), ("mock-403", 502), ("mock-500", 502)])
def test_rule_31_what_an_upstream_refusal_becomes(gateway, upstream, model, status):
    with sdk(gateway, max_retries=0) as client, pytest.raises(Exception, match=r".") as refused:
        client.chat.completions.create(**ask(model=model))
    assert refused.value.status_code == status
    assert gateway.provider_key not in str(refused.value.body)
    assert ("scripted bad_field" in str(refused.value.body)) is (status == 400)
    gateway.quiesce()


def test_answers_do_not_differ_by_lane_in_a_stream_that_is_long(gateway, upstream):
    with sdk(gateway) as client:
        chunks = list(client.chat.completions.create(**ask(scripted(events=400)), stream=True))
    assert sum(1 for chunk in chunks if chunk.choices and chunk.choices[0].delta.content) == 400


def test_health_and_metrics_are_there(gateway):
    assert gateway.admin("GET", "/healthz").json == {"status": "ok"}
    assert gateway.admin("GET", "/readyz").json == {"status": "ready"}
    assert gateway.metric("comptroller_reload_ok") == 1
