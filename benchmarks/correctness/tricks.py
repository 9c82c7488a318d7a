"""Requests that try to get past policy, price or the table of routes: names that look alike, places where a model might
be read from, paths that a proxy might pass on."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

ALLOWED = "small"
FORBIDDEN = "secret"
CHAT = "/v1/chat/completions"
MESSAGES = ({"role": "user", "content": "x"},)


@dataclass(frozen=True, slots=True)
class Trick:
    """One request, as bytes on the wire. `body` is sent as it is."""

    what: str
    path: str
    body: bytes
    method: str = "POST"
    headers: tuple[str, ...] = ()


def tricks() -> list[Trick]:
    return [*_names(), *_places(), *_bodies(), *_paths(), *_unknown(), *_served_to_others()]


def _chat(**fields: object) -> bytes:
    return json.dumps({"model": ALLOWED, "messages": MESSAGES, "max_tokens": 5, **fields}).encode()


def _names() -> Iterator[Trick]:
    """Spellings of a model that this key may not use, and of upstream names that no alias gives it."""
    names = [
        FORBIDDEN,
        f" {FORBIDDEN}",
        f"{FORBIDDEN} ",
        f"{FORBIDDEN}\t",
        f"{FORBIDDEN}\n",
        FORBIDDEN.upper(),
        FORBIDDEN.title(),
        f"{FORBIDDEN}\u0000",
        f"{FORBIDDEN}\u200b",
        f"\ufeff{FORBIDDEN}",
        FORBIDDEN.replace("s", "\u0455"),  # a Cyrillic letter that looks the same
        FORBIDDEN.replace("e", "\uff45"),  # full width
        FORBIDDEN.replace("e", "e\u0301"),
        "\u017fecret",  # a long s, which folds to s
        f"mock/{FORBIDDEN}",
        f"openai/{FORBIDDEN}",
        f"{ALLOWED},{FORBIDDEN}",
        f"{ALLOWED};{FORBIDDEN}",
        f"{ALLOWED}\u0000{FORBIDDEN}",
        f"{FORBIDDEN}:latest",
        f"{FORBIDDEN}@default",
        f"models/{FORBIDDEN}",
        f"../{FORBIDDEN}",
        "mock-ok",  # what the provider calls the allowed one
        "mock-secret",
        "*",
        "",
        "group:all",
    ]
    for name in names:
        yield Trick(f"the model {name!r}", CHAT, _chat(model=name))
        yield Trick(
            f"embeddings of the model {name!r}", "/v1/embeddings", json.dumps({"model": name, "input": "x"}).encode()
        )


def _places() -> Iterator[Trick]:
    """Other places in which some server reads a model from."""
    for query in (
        f"?model={FORBIDDEN}",
        f"?model={FORBIDDEN}&model={ALLOWED}",
        f"?deployment={FORBIDDEN}",
        "?api-version=1",
    ):
        yield Trick(f"the query {query}", CHAT + query, _chat())
    for header in (
        "x-model",
        "x-goog-model",
        "openai-model",
        "x-litellm-model",
        "x-portkey-config",
        "x-override-model",
    ):
        yield Trick(f"the header {header}", CHAT, _chat(), headers=(f"{header}: {FORBIDDEN}",))
    for header in (
        "x-http-method-override: GET",
        "x-original-url: /v1/files",
        "x-rewrite-url: /v1/files",
        "x-forwarded-prefix: /x",
    ):
        yield Trick(f"the header {header}", CHAT, _chat(), headers=(header,))
    for field in (
        "models",
        "fallbacks",
        "route",
        "provider",
        "deployment",
        "base_url",
        "api_base",
        "api_key",
        "extra_body",
        "engine",
    ):
        yield Trick(f"the field {field}", CHAT, _chat(**{field: [FORBIDDEN]}))


def _bodies() -> Iterator[Trick]:
    """Bodies that two parsers read differently."""
    small, secret = f'"model": "{ALLOWED}"', f'"model": "{FORBIDDEN}"'
    rest = '"messages": [{"role": "user", "content": "x"}], "max_tokens": 5'
    bodies = {
        "a model twice": f"{{{small}, {rest}, {secret}}}",
        "a model twice, the other way": f"{{{secret}, {rest}, {small}}}",
        "a model twice, one escaped": f'{{{small}, {rest}, "m\\u006fdel": "{FORBIDDEN}"}}',
        "a model in capitals beside": f'{{{small}, {rest}, "MODEL": "{FORBIDDEN}"}}',
        "a list of models": f'{{"model": ["{ALLOWED}", "{FORBIDDEN}"], {rest}}}',
        "a model that is an object": f'{{"model": {{"name": "{FORBIDDEN}"}}, {rest}}}',
        "no model": f"{{{rest}}}",
        "two documents": f"{{{small}, {rest}}}{{{secret}, {rest}}}",
        "a comment": f"{{{small}, {rest} /* {secret} */}}",
        "a mark of byte order": f"\ufeff{{{small}, {rest}}}",
        "a lone surrogate": f'{{"model": "{ALLOWED}\\ud800", {rest}}}',
        "a form": f"model={FORBIDDEN}&messages=x",
    }
    for what, body in bodies.items():
        yield Trick(what, CHAT, body.encode("utf-8", "surrogatepass"))


def _paths() -> Iterator[Trick]:
    """Spellings of a path that is served."""
    for path in (
        "//v1/chat/completions",
        "/v1//chat/completions",
        "/v1/chat//completions",
        "/v1/chat/completions/",
        "/v1/chat/completions//",
        "/V1/chat/completions",
        "/v1/Chat/Completions",
        "/v1/chat/completions;x=1",
        "/v1/chat/completions%20",
        "/v1/chat/completions%00",
        "/v1/chat%2fcompletions",
        "/v1/chat/../chat/completions",
        "/v1/./chat/completions",
        "/v1/%63hat/completions",
        "/v1/chat/completions%3Fx",
        "/v1\\chat\\completions",
        "/v1/chat/completions/batch",
        "/v1/v1/chat/completions",
        "/openai/v1/chat/completions",
        "/chat/completions",
        "/v1/chat/\u0441ompletions",
        f"/v1/engines/{FORBIDDEN}/completions",
        f"/v1/models/{FORBIDDEN}/chat/completions",
        "http://127.0.0.1:9/v1/chat/completions",
        "http://provider.invalid/v1/files",
    ):
        yield Trick(f"the path {path}", path, _chat())


def _unknown() -> Iterator[Trick]:
    """What providers serve beside: none of it may be passed on."""
    for path in (
        "/",
        "/v1",
        "/v1/files",
        "/v1/batches",
        "/v1/fine_tuning/jobs",
        "/v1/assistants",
        "/v1/threads",
        "/v1/threads/runs",
        "/v1/vector_stores",
        "/v1/uploads",
        "/v1/realtime/sessions",
        "/v1/realtime",
        "/v1/conversations",
        "/v1/containers",
        "/v1/evals",
        "/v1/videos",
        "/v1/organization/costs",
        "/v1/organization/admin_api_keys",
        "/v1/dashboard/billing/usage",
        "/v1/messages/batches",
        "/v1beta/cachedContents",
        "/v1beta/corpora",
        "/v1beta/files",
        "/v1/rerank",
        "/v1/embed",
        "/api/generate",
        "/api/chat",
        "/api/pull",
        "/proxy/http://provider.invalid/",
        "/admin/../v1/files",
    ):
        for method in ("GET", "POST", "DELETE"):
            yield Trick(f"{method} {path}", path, _chat() if method == "POST" else b"", method)


def _served_to_others() -> Iterator[Trick]:
    """Methods that are not those of a route."""
    for method in ("GET", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "CONNECT", "post"):
        for path in (CHAT, "/v1/embeddings", "/v1/models"):
            yield Trick(f"{method} {path}", path, _chat(), method)
