"""Shared by the tests of the settings: an environment with well-formed keys, and a short way to read a text."""

import re
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import yaml

from gateway.core.identity import make_secret
from gateway.settings import Loaded, SettingsError, parse

PATH = Path("comptroller.yaml")
ENVIRONMENT: Mapping[str, str] = {
    "COMPTROLLER_ADMIN_TOKEN": "canary-admin-token-0123456789",
    "OPENAI_API_KEY": "canary-openai-0123456789",
    "ANTHROPIC_API_KEY": "canary-anthropic-0123456789",
    "GITHUB_MCP_TOKEN": "canary-github-0123456789",
    "REVIEWER_KEY": make_secret(1),
    "HELPDESK_KEY": make_secret(2),
    "PORT": "9090",
    "EMPTY": "",
}


def read(text: str, environment: Mapping[str, str] = ENVIRONMENT, path: Path = PATH) -> Loaded:
    return parse(dedent(text).encode(), environment, path=path)


def faults(text: str, environment: Mapping[str, str] = ENVIRONMENT, path: Path = PATH) -> list[str]:
    """`line:column setting: message` of every fault."""
    try:
        read(text, environment, path)
    except SettingsError as error:
        return [f"{f.line}:{f.column} {f.setting}: {f.message}" for f in error.findings]
    return []


def hints(text: str) -> list[str]:
    try:
        read(text)
    except SettingsError as error:
        return [finding.hint for finding in error.findings]
    return []


class _Yaml12(yaml.SafeLoader):
    """The core schema of YAML 1.2, which editors go by: no `yes`, no `1_000`, no dates."""


_Yaml12.yaml_implicit_resolvers = {}
for _tag, _pattern in (
    ("null", r"~|null|Null|NULL|"),
    ("bool", r"true|True|TRUE|false|False|FALSE"),
    ("int", r"[-+]?[0-9]+"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"),
):
    _Yaml12.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), None)


def as_an_editor_reads(text: str) -> Any:
    return yaml.load(text, Loader=_Yaml12) or {}
