"""What is published about the settings: the JSON Schema and the reference page, both made from the models."""

import json
import runpy
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped] # ships no types
import pytest

from gateway.settings.sample import sample_yaml
from gateway.settings.schema import json_schema, setting_rows
from gateway.settings.unbuilt import UNBUILT_SETTINGS
from tests.settings.samples import as_an_editor_reads, faults

DOCS = Path(__file__).parents[2] / "docs"
SCHEMA: dict[str, Any] = json_schema()


def test_the_published_files_are_up_to_date() -> None:
    made = runpy.run_path(str(DOCS / "make_configuration.py"))
    page = (DOCS / "configuration.md").read_text(encoding="utf-8")
    assert (DOCS / "comptroller.schema.json").read_text(encoding="utf-8") == made["schema_text"]()
    assert page == made["page_text"](page)


def test_every_setting_is_on_the_page_with_words() -> None:
    page = (DOCS / "configuration.md").read_text(encoding="utf-8")
    rows = list(setting_rows())
    assert len(rows) > 100
    for row in rows:
        assert f"| `{row.path}` |" in page
        assert row.description
    for planned in UNBUILT_SETTINGS:
        assert f"| {planned.what} |" in page


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


ACCEPTED = [
    sample_yaml(),
    "",
    "server: {port: '${PORT}', fast_path: '${FAST:-true}'}",
    "limits: [{name: a, tokens: 2_000_000, label:kind: coding, window: 5h, overrides: {'user:a': 5}}]",
    "loops: {identical_requests: off}",
    "prices: {unknown: deny, overrides: {a: {input_usd_per_mtok: 1, output_usd_per_mtok: 0.5}}}",
    "prices: {unknown: {estimate: {input_usd_per_mtok: 1, output_usd_per_mtok: 0.5}}}",
    "providers: {a: {kind: openai_compatible, base_url: 'http://127.0.0.1:1/v1', api_key: none}}",
    "alerts: {webhook: '', slack: null}\nadmin: {oidc: null}\nidentity: {issuers: []}",
]
REFUSED = [
    "server: {prot: 1}",
    "server: {port: x}",
    "server: {port: 70000}",
    "server: {fast_path: yes}",
    "sessions: {idle_timeout: 30}",
    "sizes: {body_max: 32}",
    "providers: {a: {kind: openai, api_key: sk-123}}",
    "providers: {a: {kind: azure, api_key: '${PORT}'}}",
    "limits: [{name: a, tokens: x, window: day}]",
    "limits: [{name: a, tokens: 5, window: dya}]",
    "limits: [{tokens: 5, window: day}]",
    "limits: {a: 1}",
    "loops: {identical_requests: 1}",
    "prices: {unknown: maybe}",
    "prices: {unknown: {}}",
]


@pytest.mark.parametrize("text", ACCEPTED)
def test_an_editor_accepts_what_the_gateway_accepts(text: str) -> None:
    assert faults(text, {"PORT": "1"}) == []
    jsonschema.validate(as_an_editor_reads(text), SCHEMA)


@pytest.mark.parametrize("text", REFUSED)
def test_an_editor_refuses_what_the_gateway_refuses(text: str) -> None:
    assert faults(text)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(as_an_editor_reads(text), SCHEMA)
