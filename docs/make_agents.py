"""Writes the setups in docs/agents.md: what `comptroller connect` prints for each program.

python docs/make_agents.py            writes the page
python docs/make_agents.py --check    says whether it is up to date (exit 1 if not)
"""

import re
import sys
from pathlib import Path

from gateway.core.client_setup import JsonFile, Setup, SetupFile, TomlFile, shown_path
from gateway.core.client_setups import SETUPS

PAGE = Path(__file__).parent / "agents.md"
URL = "http://127.0.0.1:8080"
MODELS = {"claude-code": "claude-opus-5-5", "anthropic": "claude-opus-5-5"}
MODELS |= {"gemini-cli": "gemini-3.8-flash", "google-genai": "gemini-3.8-flash"}
_BLOCK = re.compile(r"(<!-- setups -->\n).*?(<!-- end -->)", re.DOTALL)
_LANGUAGES = {".py": "python", ".yml": "yaml", ".yaml": "yaml"}


def page_text(page: str) -> str:
    """The page with its marked block written anew."""
    sections = [_section(make(URL, MODELS.get(name, "gpt-5-mini"))) for name, make in SETUPS.items()]
    return _BLOCK.sub(lambda match: f"{match[1]}\n{''.join(sections)}{match[2]}", page)


def _section(setup: Setup) -> str:
    text = f"## {setup.title}: `comptroller connect {setup.name}`\n\n"
    if setup.environment:
        text += f"```sh\n{setup.exports()}```\n\n"
    for file in setup.files:
        text += f"`{shown_path(file)}`\n\n```{_language(file)}\n{file.text()}```\n\n"
    if setup.run:
        text += f"Then `{setup.run}`.\n\n"
    return text + "".join(f"- {note}\n" for note in setup.notes) + "\n" * bool(setup.notes)


def _language(file: SetupFile) -> str:
    if isinstance(file, JsonFile):
        return "json"
    return "toml" if isinstance(file, TomlFile) else _LANGUAGES[Path(file.path).suffix]


def main() -> int:
    there = PAGE.read_text(encoding="utf-8")
    made = page_text(there)
    if "--check" in sys.argv[1:]:
        return int(made != there)
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
