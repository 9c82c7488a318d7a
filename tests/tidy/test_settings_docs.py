"""Every setting is told in docs/configuration.md, and nothing is told there that cannot be set.

Either by its whole path in backticks, `server.port`, or in the first cell of a table under a heading that names its
section in backticks: "## `server`", then "| `port` | ...". Sections of a list are `keys[]`, those of a mapping
`providers.<name>`.
"""

import re

from tests.tidy.settings_tree import setting_paths
from tests.tidy.tree import ROOT

HEADING = re.compile(r"^#+ .*?`([^`]+)`")
ROW = re.compile(r"^\| *`([^`]+)`")
SPAN = re.compile(r"`([a-z_]+(?:\.(?:[a-z_]+|<name>)|\[\])+)`")


def told() -> tuple[set[str], set[str]]:
    """(paths in tables, paths in running text)"""
    rows: set[str] = set()
    spans: set[str] = set()
    section = ""
    for line in (ROOT / "docs/configuration.md").read_text(encoding="utf-8").splitlines():
        if heading := HEADING.match(line):
            section = heading[1]
        elif line.startswith("#"):
            section = ""
        elif section and (row := ROW.match(line)):
            rows.add(f"{section}.{row[1]}")
        spans.update(SPAN.findall(line))
    return rows, spans


def test_every_setting_is_documented() -> None:
    rows, spans = told()
    assert len(setting_paths()) > 60
    assert sorted(setting_paths() - rows - spans) == []


def test_nothing_is_documented_that_cannot_be_set() -> None:
    rows, _ = told()
    known = setting_paths()
    sections = {path[:end] for path in known for end, sign in enumerate(path) if sign in ".["}
    assert sorted(rows - known - sections) == []
