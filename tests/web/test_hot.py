"""The fast lane understands a path as Quart's routing does, or leaves it to Quart."""

from types import SimpleNamespace
from typing import cast
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.exceptions import HTTPException

from gateway.web.admin_routes import ADMIN_ROUTES
from gateway.web.face import Face, Handler
from gateway.web.hot import HotRoutes
from gateway.web.quart_app import make_quart
from gateway.web.routes import ROUTES, Guard, Route

ALL = (*ROUTES, *ADMIN_ROUTES)
HANDLERS = {f"{route.method} {route.path}": route.handler for route in ALL}
HOT = HotRoutes(ROUTES)
QUART = make_quart(cast(Face, SimpleNamespace(body_bytes_max=1)), ALL).url_map.bind("gateway")
MODEL_ROUTES = ("/v1beta/models/", "/v1/models/", "/bedrock/model/", "/vertex/", "/openai/deployments/")


def of_quart(method: str, path: str) -> tuple[Handler, dict[str, str]] | None:
    try:
        endpoint, parameters = QUART.match(path, method)
    except HTTPException:
        return None
    return HANDLERS[endpoint], dict(parameters)


def agree(method: str, path: str) -> bool:
    """Whether the fast lane takes it; then Quart would have done the same with it."""
    found = HOT.find(method, path)
    assert found is None or (found.handler, dict(found.parameters)) == of_quart(method, path), path
    return found is not None


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions",
        "/v1beta/models/gemini-2.5-pro:generateContent",
        "/v1beta/models/gemini-2.5-pro%3AstreamGenerateContent",
        "/v1beta/models/publishers%2Fgoogle%2Fmodels%2Fx:generateContent",
        "/v1beta/models/tuned/models/x:generateContent",
        "/v1/models/x:generateContent",
        "/bedrock/model/eu.claude-v1%3A0/converse",
        "/bedrock/model/eu.claude-v1:0/converse-stream",
        "/bedrock/model/arn%3Aaws%3Abedrock%3Aeu%3A1%3Ainference-profile%2Feu.claude/invoke",
        "/bedrock/model/arn:aws:bedrock:eu:1:inference-profile/eu.claude/invoke-with-response-stream",
        "/bedrock/model/a%20b%25c%3Fd%23e/converse",
        "/bedrock/model/m%C3%B6del/converse",
        "/bedrock/model/%FF/converse",
        "/bedrock/model/a//b/converse",
        "/bedrock/model/../x/converse",
        "/bedrock/model/m/converse/",
        "/vertex/v1/projects/p/locations/l/publishers/anthropic/models/claude:rawPredict",
        "/openai/deployments/gpt/chat/completions",
        "/openai/deployments/g%20pt/embeddings",
        "/openai/deployments/x/completions",
    ],
)
def test_these_take_the_fast_lane_as_quart_would_take_them(path: str) -> None:
    assert agree("POST", unquote(path))


@pytest.mark.parametrize(
    "path",
    [
        "/bedrock/model/",
        "/bedrock/model//converse",
        "/bedrock/model/a%0Ab/converse",
        "/v1beta/models/",
        "/vertex/",
        "/openai/deployments//chat/completions",
        "/openai/deployments/a%2Fb/chat/completions",
        "/openai/deployments/x/chat/completions/",
        "/openai/deployments/completions",
        "//bedrock/model/m/converse",
        "/api/v1/keys",
        "",
    ],
)
def test_these_are_left_to_quart(path: str) -> None:
    assert not agree("POST", unquote(path))


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD", "OPTIONS", "post"])
def test_another_method_is_left_to_quart(method: str) -> None:
    assert HOT.find(method, "/bedrock/model/m/converse") is None


PARTS = st.lists(
    st.one_of(
        st.sampled_from(
            ["/", "//", "models", "chat/completions", "embeddings", ":", "%", "\n", "\r", "..", " ", "?", "<x>"]
        ),
        st.text(max_size=5),
    ),
    max_size=6,
).map("".join)


@given(st.sampled_from(["POST", "GET"]), st.sampled_from([*MODEL_ROUTES, "/v1/", "/"]), PARTS)
def test_no_path_is_understood_otherwise(method: str, prefix: str, rest: str) -> None:
    agree(method, prefix + rest)
    agree(method, prefix + unquote(rest))


def test_a_path_with_two_parameters_cannot_be_fast() -> None:
    route = Route("POST", "/a/<b>/<c>", Guard.KEY, ROUTES[0].handler, "none", fast=True)
    with pytest.raises(ValueError, match="more than one parameter"):
        HotRoutes([route])
