"""Writes what is generated from the settings models: the JSON Schema, and the tables of docs/configuration.md.

python docs/make_configuration.py            writes both
python docs/make_configuration.py --check    says whether they are up to date (exit 1 if not)
"""

import json
import re
import sys
from pathlib import Path

from gateway.settings.schema import SettingRow, json_schema, setting_rows
from gateway.settings.unbuilt import UNBUILT_SETTINGS, UNBUILT_VALUES

DOCS = Path(__file__).parent
SCHEMA = DOCS / "comptroller.schema.json"
PAGE = DOCS / "configuration.md"
_BLOCK = re.compile(r"(<!-- (settings|unbuilt) ?(\S*) -->\n).*?(<!-- end -->)", re.DOTALL)


def schema_text() -> str:
    return json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n"


def page_text(page: str) -> str:
    """The page with its marked blocks written anew."""
    rows = list(setting_rows())

    def block(match: re.Match[str]) -> str:
        table = _unbuilt() if match[2] == "unbuilt" else _table(rows, match[3])
        return f"{match[1]}{table}{match[4]}"

    return _BLOCK.sub(block, page)


def _table(rows: list[SettingRow], section: str) -> str:
    wanted = [row for row in rows if re.match(rf"{re.escape(section)}(\.|\[|$)", row.path)]
    lines = ["| setting | type | default | |", "|---|---|---|---|"]
    for row in wanted:
        default = row.default if row.default in ("", "required") else f"`{row.default}`"
        lines.append(f"| `{row.path}` | {row.type} | {default} | {row.description} |")
    return "\n".join(lines) + "\n"


def _unbuilt() -> str:
    rows = [(row.path, row.what) for row in UNBUILT_SETTINGS] + [(row.path, row.what) for row in UNBUILT_VALUES]
    lines = [f"| `{_setting(path)}` | {what} |\n" for path, what in rows]
    return f"| setting | what |\n|---|---|\n{''.join(lines)}"


def _setting(path: tuple[str, ...]) -> str:
    return ".".join(path).replace("limits.*", "limits[]").replace(".*", ".<name>")


def main() -> int:
    written = {SCHEMA: schema_text(), PAGE: page_text(PAGE.read_text(encoding="utf-8"))}
    stale = [path for path, text in written.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if "--check" in sys.argv[1:]:
        for path in stale:
            sys.stderr.write(f"{path} is not up to date: run python docs/make_configuration.py\n")
        return 1 if stale else 0
    for path in stale:
        path.write_text(written[path], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
