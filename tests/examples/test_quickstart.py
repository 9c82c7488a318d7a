"""examples/quickstart, run as its README says."""

import json
import shutil
from pathlib import Path

import pytest

from tests.examples.shown import run_block


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_and_the_sdk_reach_a_gateway_that_was_started_without_a_file(tmp_path: Path) -> None:
    said = run_block("examples/quickstart/README.md", tmp_path / "home")
    (_, curl), (_, sdk), (_, books) = (part.split("\n", 1) for part in said.removeprefix("== ").split("\n== "))
    assert json.loads(curl)["usage"]["completion_tokens"] > 0
    lines = dict(line.split(": ", 1) for line in sdk.splitlines())
    assert list(lines) == ["models", "answer", "cost", "streamed", "refused"]
    assert lines["models"] == "sim-small, sim-large"
    assert len(lines["answer"].split()) == 20
    assert len(lines["streamed"].split()) == 12
    assert float(lines["cost"].removesuffix(" USD")) > 0
    assert lines["refused"].startswith("HTTP 400, model_unknown: ")
    header, row, *_ = (line.split() for line in books.splitlines())
    usage = dict(zip(header, row, strict=True))
    assert (usage["user"], usage["model"], usage["calls"]) == ("local", "sim-small", "3")
    assert "the chain and the books agree" in books
