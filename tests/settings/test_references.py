from pathlib import Path

import pytest

from gateway.settings import load
from gateway.settings.references import FILE_BYTES_MAX, References
from tests.settings.samples import faults, read

ENVIRONMENT = {"A": "alpha", "EMPTY": "", "TRICKY": "${A}", "DIR": "secrets", "NUL": "a\0b"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("${A}", "alpha"),
        ("x-${A}-${A}", "x-alpha-alpha"),
        ("${NOPE:-default}", "default"),
        ("${EMPTY:-default}", "default"),
        ("${EMPTY}", ""),
        ("${A:-default}", "alpha"),
        ("${NOPE:-}", ""),
        ("${NOPE:-${A}}", "alpha"),
        ("${NOPE:-a:-b}", "a:-b"),
        ("${TRICKY}", "${A}"),
        ("$${A}", "${A}"),
        ("cost $5, $A and $", "cost $5, $A and $"),
    ],
)
def test_what_a_reference_becomes(text: str, expected: str) -> None:
    found = References(ENVIRONMENT, Path()).expand(text)
    assert (found.text, found.flaws) == (expected, [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${NOPE}", "the environment variable `NOPE` is not set"),
        ("${NOPE:-${NADA}}", "the environment variable `NADA` is not set"),
        ("${A", "a `${` is never closed"),
        ("${}", "this is not a reference"),
        ("${A-b}", "this is not a reference"),
        ("${a b}", "this is not a reference"),
        ("${file:nope}", "`nope` cannot be read: No such file or directory"),
        ("${file:.}", "`.` is not a file"),
        ("${file:${NUL}}", "`${NUL}` cannot be read: not a path"),
    ],
)
def test_what_is_no_reference_is_a_flaw(tmp_path: Path, text: str, message: str) -> None:
    assert [flaw.message for flaw in References(ENVIRONMENT, tmp_path).expand(text).flaws] == [message]


def test_a_secret_file_is_found_beside_the_configuration_and_watched(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    secret = tmp_path / "secrets" / "openai"
    secret.write_text("canary-file\n")
    secret.chmod(0o600)
    config = tmp_path / "comptroller.yaml"
    config.write_text(
        'providers: {openai: {kind: openai, api_key: "${file:${DIR}/openai}"}}\nmodels: {m: {provider: openai}}'
    )
    loaded = load(config, ENVIRONMENT)
    key = loaded.settings.providers["openai"].api_key
    assert key is not None
    assert key.reveal() == "canary-file"
    assert loaded.sources == (config, secret)
    assert loaded.warnings == ()
    assert loaded.origin(("providers", "openai", "api_key")).references == ("DIR", "file ${DIR}/openai")


def test_a_secret_file_that_everybody_may_read_is_a_warning_at_its_place(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("canary-file")
    (tmp_path / "key").chmod(0o644)
    text = 'models: {m: {provider: openai}}\nproviders: {openai: {kind: openai, api_key: "${file:key}"}}'
    (warning,) = read(text, path=tmp_path / "comptroller.yaml").warnings
    assert (warning.line, warning.column, warning.hint) == (2, 45, "chmod o-r key")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff\xfe", "is not UTF-8 text"), (b"x" * (FILE_BYTES_MAX + 1), "is larger than 64 KiB")],
)
def test_a_file_that_cannot_be_a_secret(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "key").write_bytes(content)
    assert faults('server: {host: "${file:key}"}', path=tmp_path / "c.yaml") == [f"1:16 server.host: `key` {message}"]


def test_an_unset_name_with_a_file_twin_says_how_to_read_it() -> None:
    (flaw,) = References({"TOKEN_FILE": "/run/secrets/token"}, Path()).expand("${TOKEN}").flaws
    assert flaw.hint == "`TOKEN_FILE` is set: write `${file:${TOKEN_FILE}}` to read that file"


@pytest.mark.parametrize(
    ("text", "port", "fast_path"),
    [
        ('server: {port: "${PORT:-8080}", fast_path: "${FAST:-false}"}', 9090, False),
        ('server: {port: "${OTHER:-8081}"}', 8081, True),
        ("server: {port: ${PORT}}", None, True),
        ('server: {port: "${EMPTY}"}', 8080, True),
    ],
)
def test_numbers_and_truth_values_come_from_references_too(text: str, port: int | None, fast_path: bool) -> None:
    if port is None:  # without quotes a brace ends the mapping
        assert faults(text)
        return
    server = read(text).settings.server
    assert (server.port, server.fast_path) == (port, fast_path)


def test_what_a_reference_brings_is_checked_like_the_rest_and_not_repeated() -> None:
    assert faults('server: {port: "${COMPTROLLER_ADMIN_TOKEN}"}') == ["1:16 server.port: must be a whole number"]
    (fault,) = faults('server: {server: "${COMPTROLLER_ADMIN_TOKEN}"}')
    assert fault == "1:18 server.server: the value (from COMPTROLLER_ADMIN_TOKEN) is not possible here"
