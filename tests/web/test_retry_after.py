"""How long a refused client is told to wait."""

import pytest

from gateway.core.denial import Code, Denial
from gateway.web.errors import refusal
from gateway.web.fronts import Front


@pytest.mark.parametrize(
    ("front", "code", "told", "header"),
    [
        (Front.OPENAI, Code.UPSTREAM_FAILED, 45.0, "45"),
        (Front.ANTHROPIC, Code.UPSTREAM_FAILED, 45.0, "45"),
        (Front.RESPONSES, Code.UPSTREAM_FAILED, 45.0, "1"),
        (Front.RESPONSES, Code.UPSTREAM_TIMEOUT, 1.0, "1"),
        (Front.RESPONSES, Code.CONCURRENCY_LIMITED, 8.0, "8"),
        (Front.RESPONSES, Code.RATE_LIMITED, 45.0, "30"),
    ],
)
def test_codex_waits_as_long_as_it_is_told_each_time_so_a_provider_that_is_down_keeps_it_a_second(
    front: Front, code: Code, told: float, header: str
) -> None:
    assert refusal(Denial(code, "no", retry_after_s=told), front).headers["retry-after"] == header
