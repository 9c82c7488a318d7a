"""One gateway for each module, in front of scripted answers in the formats that these programs speak."""

from collections.abc import Iterator

import pytest

from tests.e2e.more_agents.runs import MODEL, MODEL_CLAUDE
from tests.support.fixtures import UpstreamProcess
from tests.support.gateway import ALICE, PRICE, GatewayProcess

POOR = {"name": "poor", "user": "carol", "agent": "poor"}
CUT = {"name": "cut", "user": "dora", "agent": "cut"}
WATCHED = {"name": "watched", "user": "dave", "agent": "watched"}
KINDS = {"gpt": "openai", "claude": "anthropic"}
MODELS = {"gpt": MODEL, "claude": MODEL_CLAUDE}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, upstream: UpstreamProcess) -> Iterator[GatewayProcess]:
    served = {"model": "mock-ok", "price": PRICE, "max_output_tokens": 128_000}
    with GatewayProcess(
        tmp_path_factory.mktemp("more-agents"),
        upstream.base_url,
        keys=(ALICE, POOR, CUT, WATCHED),
        models={model: {"provider": provider, **served} for provider, model in MODELS.items()},
        providers={
            provider: {"kind": kind, "base_url": upstream.base_url, "api_key": "${PROVIDER_KEY}"}
            for provider, kind in KINDS.items()
        },
        limits=[
            {"name": "poor-run", "each": "session", "agent": "poor", "tokens": 10},
            {"name": "cut-run", "each": "session", "agent": "cut", "output_tokens": 400},
            {"name": "watched-run", "each": "session", "agent": "watched", "tokens": 1_000_000},
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
