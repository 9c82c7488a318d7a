"""Whatever a file holds, it is a configuration or a list of faults at places that exist."""

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.settings import SettingsError, parse
from tests.settings.samples import ENVIRONMENT, PATH

SMALL = """\
server: {port: "${PORT:-1}", fast_path: true}
providers:
  a: {kind: openai, api_key: "${OPENAI_API_KEY}"}
models: {m: {provider: a, price: {input_usd_per_mtok: 1, output_usd_per_mtok: 2.5, from: 2026-01-01}}}
limits:
  - {name: l, each: user, label:kind: coding, usd: 0.1, window: 5h, overrides: {"user:b": 1}}
loops: {identical_requests: off}
prices: {unknown: {estimate: {input_usd_per_mtok: 1, output_usd_per_mtok: 2}}}
keys: [{name: k, secret: "${REVIEWER_KEY}", expires_at: 2027-01-01, models: [m*], limits: [{usd: 1, window: day}]}]
mcp: {servers: {s: {transport: stdio, command: [x], env: {A: b}}}}
"""
PIECES = st.one_of(
    st.text(max_size=6),
    st.sampled_from(
        [
            "{}",
            "[]",
            "null",
            "${",
            "${PORT}",
            "${file:x}",
            "&a",
            "*a",
            "!!x",
            "<<",
            "- ",
            ": ",
            "\n",
            "\t",
            "0",
            "true",
            "-",
        ]
    ),
)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(SMALL)), st.integers(0, 12), PIECES)
def test_a_damaged_file_is_refused_in_words_or_read(start: int, length: int, piece: str) -> None:
    text = SMALL[:start] + piece + SMALL[start + length :]
    content = text.encode(errors="surrogatepass")
    lines = text.splitlines() or [""]
    try:
        parse(content, ENVIRONMENT, path=PATH)
    except SettingsError as error:
        for finding in error.findings:
            assert 1 <= finding.line <= len(lines) + 1
            assert finding.column >= 1
            assert finding.message
            assert "canary" not in str(finding)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=40))
def test_any_bytes_are_refused_in_words_or_read(content: bytes) -> None:
    with contextlib.suppress(SettingsError):
        parse(content, ENVIRONMENT, path=PATH)
