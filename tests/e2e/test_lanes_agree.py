"""Routes that name the model in the path: both lanes, on both servers, give the same answers byte for byte."""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.clients import raw
from tests.support.fixtures import UpstreamProcess
from tests.support.gateway import PRICE, GatewayProcess

pytestmark = pytest.mark.xdist_group("e2e-lanes")

GEMINI = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
CONVERSE = {"messages": [{"role": "user", "content": [{"text": "hello"}]}]}
MESSAGES = {"max_tokens": 64, "messages": [{"role": "user", "content": "hello"}]}
VERTEX = {**MESSAGES, "anthropic_version": "vertex-2023-10-16"}
INVOKE = {**MESSAGES, "anthropic_version": "bedrock-2023-05-31"}
CHAT = {"messages": [{"role": "user", "content": "hello"}]}
PLACE = "/vertex/v1/projects/p/locations/l/publishers/anthropic/models"
ASKED = [
    ("/v1beta/models/odd/na:me:generateContent", GEMINI),
    ("/v1beta/models/odd%2Fna%3Ame%3AgenerateContent", GEMINI),
    ("/v1beta/models/small:streamGenerateContent?alt=sse", GEMINI),
    ("/v1beta/models/small:streamGenerateContent", GEMINI),
    ("/v1/models/small:generateContent", GEMINI),
    ("/v1beta/models/small:countTokens", GEMINI),
    ("/v1beta/models/small:nothing", GEMINI),
    ("/v1beta/models/%FF:generateContent", GEMINI),
    ("/bedrock/model/small/converse", CONVERSE),
    ("/bedrock/model/odd%2Fna%3Ame/converse-stream", CONVERSE),
    ("/bedrock/model/small/invoke", INVOKE),
    ("/bedrock/model/small/invoke-with-response-stream", INVOKE),
    ("/bedrock/model/small/predict", CONVERSE),
    ("/bedrock/model/a%0Ab/converse", CONVERSE),
    ("/bedrock/model/nobody/converse", CONVERSE),
    (f"{PLACE}/small:rawPredict", VERTEX),
    (f"{PLACE}/small:streamRawPredict", VERTEX),
    (f"{PLACE}/small%3ArawPredict", VERTEX),
    ("/openai/deployments/small/chat/completions?api-version=2024-10-21", CHAT),
    ("/openai/deployments/small/chat/completions", {**CHAT, "stream": True}),
    ("/openai/deployments/a%2Fb/chat/completions", CHAT),
    ("/openai/deployments/small/chat/completions", ["no object"]),
]
_MADE_UP = re.compile(
    rb"(?<=[_-])[0-9a-z]{25}|msg_\w+|chatcmpl-\w+|(?<=date: )[^\r]+|(?<=\"created\":)\d+|\d{4}-\d\d-\d\dT[\d:.]+Z"
)


@pytest.fixture(scope="module", params=["hypercorn", "uvicorn"])
def lanes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, upstream: UpstreamProcess
) -> Iterator[tuple[GatewayProcess, GatewayProcess]]:
    served = {"provider": "mock", "model": "mock-ok", "price": PRICE, "max_output_tokens": 4096}
    with ExitStack() as stack:
        fast, quart = (
            stack.enter_context(
                GatewayProcess(
                    tmp_path_factory.mktemp("lane"),
                    upstream.base_url,
                    server=request.param,
                    fast_path=fast_path,
                    models={"small": served, "odd/na:me": served},
                )
            )
            for fast_path in (True, False)
        )
        yield fast, quart


def answer(gateway: GatewayProcess, path: str, body: object) -> tuple[list[bytes], bytes]:
    """The head's lines, sorted for servers order them as they like, and the body as it came, without what is new each
    time."""
    content = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n"
        f"authorization: Bearer {gateway.keys['alice']}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    )
    told, _, rest = raw(gateway, head.encode() + content, until_close=True).partition(b"\r\n\r\n")
    lines = sorted(told.lower().split(b"\r\n"))
    whole = unchunked(rest) if b"transfer-encoding: chunked" in lines else rest
    return [_MADE_UP.sub(b"-", line) for line in lines], _MADE_UP.sub(b"-", whole)


def unchunked(rest: bytes) -> bytes:
    """Where one chunk ends and the next begins depends on when they came."""
    parts = []
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        parts.append(rest[: int(size, 16)])
        rest = rest[int(size, 16) + 2 :]
    return b"".join(parts)


@pytest.mark.parametrize(("path", "body"), ASKED, ids=[path for path, _ in ASKED])
def test_both_lanes_give_the_same_answer(lanes, clean_upstream, path, body):
    told = []
    for gateway in lanes:
        clean_upstream.reset()  # it numbers its replies
        told.append(answer(gateway, path, body))
    assert told[0] == told[1]
    assert told[0][1], "every answer has a body"
