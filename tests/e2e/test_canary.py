"""Secrets and content stay where they belong: looked for in everything that the gateway writes or says."""

import itertools
import json
import secrets
from pathlib import Path

from openai import APIStatusError

from tests.support.clients import ask, parsed, post, raw, scripted, sdk
from tests.support.gateway import ALICE, BOB, OPEN_POLICY, GatewayProcess


def canary(what: str) -> str:
    return f"canary-{what}-{secrets.token_hex(8)}"


PROMPT, ANSWER, ARGUMENT, RESULT, SYSTEM, TOOL_TEXT, EMBEDDED, EMPTY_KEY = (
    canary(what) for what in ("prompt", "answer", "argument", "result", "system", "tooltext", "embedded", "wrongkey")
)
CONTENT = (PROMPT, ANSWER, ARGUMENT, RESULT, SYSTEM, TOOL_TEXT, EMBEDDED, EMPTY_KEY)

TOOL = {"type": "function", "function": {"name": "lookup", "description": TOOL_TEXT, "parameters": {"type": "object"}}}
CONVERSATION = [
    {"role": "system", "content": SYSTEM},
    {"role": "user", "content": PROMPT},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "lookup", "arguments": json.dumps({"q": ARGUMENT})}}
        ],
    },
    {"role": "tool", "tool_call_id": "c1", "content": RESULT},
]


def drive(gateway: GatewayProcess, upstream) -> list[str]:
    """Calls of every kind with canaries in all of their parts; returns the words of every refusal."""
    said: list[str] = []
    upstream.script(model="mock-ok", text=ANSWER)
    upstream.script(model="calls", tool_calls=[{"name": "lookup", "arguments": {"q": ARGUMENT}}])
    upstream.script(model="echo-key", status=400, body=json.dumps({"error": {"message": gateway.provider_key}}))
    upstream.script(model="echo-html", status=500, body=f"<html>{gateway.provider_key} {PROMPT}</html>")
    upstream.script(model="mock-garbage", preset="mock-garbage")
    with sdk(gateway, max_retries=0, session="canary") as client:
        for stream, model in itertools.product((False, True), ("small", "calls")):
            reply = client.chat.completions.create(model=model, messages=CONVERSATION, tools=[TOOL], stream=stream)
            assert "canary" in (str(list(reply)) if stream else str(reply))
        client.embeddings.create(model="small", input=[EMBEDDED])
        for model in ("echo-key", "echo-html", "denied", "unknown-model", "mock-garbage"):
            for stream in (False, True):
                try:
                    client.chat.completions.create(model=model, messages=CONVERSATION, tools=[TOOL], stream=stream)
                except APIStatusError as error:
                    said.append(f"{error} {error.response.text} {dict(error.response.headers)}")
                else:
                    raise AssertionError(model)
    for key in (f"cptr_sk_{EMPTY_KEY}", EMPTY_KEY):
        with sdk(gateway, key, max_retries=0) as client:
            try:
                client.models.list()
            except APIStatusError as error:
                said.append(error.response.text)
    bodies = (json.dumps(ask(PROMPT)).encode()[:-2], json.dumps(ask(PROMPT, n=PROMPT)).encode())
    said += [str(parsed(raw(gateway, post(gateway, body)))) for body in bodies]
    return said


def files_under(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def find(needles: dict[str, str], hay: dict[str, bytes]) -> list[tuple[str, str]]:
    """(what leaked, where)."""
    return [(what, where) for what, secret in needles.items() for where, text in hay.items() if secret.encode() in text]


def test_secrets_and_content_appear_nowhere(start, upstream):
    gateway = start(
        keys=(ALICE, BOB),
        models=["calls", "echo-key", "echo-html", "denied", "mock-garbage"],
        policy=OPEN_POLICY.replace("# rows: 3", "p, user:alice, denied, *, model:invoke, , deny\n# rows: 4"),
        provider_key=f"sk-{secrets.token_hex(20)}",
        limits=[{"name": "session", "each": "session", "usd": 5}],
    )
    said = drive(gateway, upstream)
    assert len(said) == 14
    created = gateway.cli("keys", "create", "--user", "carol", "--name", "carol", "--json").json["secret"]
    gateway.keys["carol"] = created
    with sdk(gateway, "carol") as client:
        client.models.list()
    gateway.quiesce()
    assert gateway.provider_key in str([row.headers for row in upstream.log()]), "the canaries did fly"
    needles = {
        "provider key": gateway.provider_key,
        "admin token": gateway.admin_token,
        **{f"key {name}": secret for name, secret in gateway.keys.items()},
        **{f"content {number}": text for number, text in enumerate(CONTENT)},
    }
    exports = {
        "usage": gateway.cli("usage", "--by", "user,key,model,session", "--json").out,
        "usage csv": gateway.cli("usage", "--by", "key", "--csv").out,
        "audit": gateway.cli("audit", "search", "--json").out,
        "sessions": gateway.cli("sessions", "list", "--json").out,
        "keys": gateway.cli("keys", "list", "--json").out,
        "limits": gateway.cli("limits", "list", "--json").out,
        "metrics": gateway.admin("GET", "/metrics").body.decode(),
        "openapi": gateway.admin("GET", "/api/openapi.json").body.decode(),
        "refusals": "\n".join(said),
    }
    running = files_under(gateway.directory)
    assert any(name.endswith("-wal") for name in running), "the write-ahead log is looked at too"
    gateway.terminate()
    hay = {
        **{f"running: {name}": text for name, text in running.items()},
        **{f"stopped: {name}": text for name, text in files_under(gateway.directory).items()},
        **{f"said: {name}": text.encode() for name, text in exports.items()},
    }
    assert "output.txt" in running
    assert find(needles, hay) == []


def test_a_canary_would_be_found(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file.db").write_bytes(b"\x00" + PROMPT.encode())
    assert find({"prompt": PROMPT}, files_under(tmp_path)) == [("prompt", "deep/file.db")]


def test_an_upstream_cannot_inject_headers_or_cookies(start, upstream):
    gateway = start(models=["mock-cookies", "mock-inject"])
    with sdk(gateway) as client:
        raw_reply = client.chat.completions.with_raw_response.create(**ask(model="mock-cookies"))
        chunks = list(client.chat.completions.create(**ask(model="mock-inject"), stream=True))
    names = {name.lower() for name in raw_reply.headers}
    assert not names & {"set-cookie", "proxy-authenticate", "openai-organization", "keep-alive"}
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert 'data: {"forged": true}' in text
    assert not any(getattr(chunk, "forged", None) for chunk in chunks)


def test_the_prompt_reaches_the_provider_only(start, upstream):
    gateway = start()
    with sdk(gateway) as client:
        client.chat.completions.create(**ask(scripted(PROMPT, events=1)))
    (row,) = upstream.log()
    assert PROMPT in row.body
    assert gateway.keys["alice"] not in row.body + str(row.headers)
