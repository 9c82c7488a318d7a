"""One gateway for each module, in front of scripted answers in the formats that these programs speak."""

from collections.abc import Iterator

import pytest

from tests.e2e.more_agents.runs import MODEL
from tests.support.fixtures import UpstreamProcess
from tests.support.gateway import ALICE, PRICE, GatewayProcess

POOR = {"name": "poor", "user": "carol", "agent": "poor"}
CUT = {"name": "cut", "user": "dora", "agent": "cut"}
KINDS = {"gpt": "openai", "claude": "anthropic"}
MODELS = {"gpt": MODEL, "claude": "claude-opus-5-5"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, upstream: UpstreamProcess) -> Iterator[GatewayProcess]:
    served = {"model": "mock-ok", "price": PRICE, "max_output_tokens": 128_000}
    with GatewayProcess(
        tmp_path_factory.mktemp("more-agents"),
        upstream.base_url,
        keys=(ALICE, POOR, CUT),
        models={model: {"provider": provider, **served} for provider, model in MODELS.items()},
        providers={
            provider: {"kind": kind, "base_url": upstream.base_url, "api_key": "${PROVIDER_KEY}"}
            for provider, kind in KINDS.items()
        },
        limits=[
            {"name": "poor-run", "each": "session", "agent": "poor", "tokens": 500},
            {"name": "cut-run", "each": "session", "agent": "cut", "output_tokens": 400},
        ],
        timeouts={"first_byte": "2s", "idle": "2s"},
    ) as gateway:
        yield gateway


@pytest.fixture
def gateway(shared: GatewayProcess, clean_upstream: UpstreamProcess) -> GatewayProcess:
    return shared


@pytest.fixture
def before(gateway: GatewayProcess) -> int:
    """How many calls were charged before this test."""
    return len(gateway.settled())
