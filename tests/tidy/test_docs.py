"""What the documents name exists, and what exists is named: targets, commands, links, codes, settings."""

import re
from collections.abc import Iterator

from gateway.core.denial import TRANSIENT, Code
from gateway.core.identity import SECRET_PATTERN
from tests.tidy.tree import ROOT, texts

FENCE = re.compile(r"^(```|~~~)", re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)\s]*)?\)")


def documents() -> list[tuple[str, str]]:
    return [(path, text) for path, text in texts() if path.endswith(".md")]


def code_in(text: str) -> Iterator[str]:
    """Lines of code: fenced, indented by four, and spans in backticks."""
    fenced = False
    for line in text.splitlines():
        if FENCE.match(line):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            yield line
        else:
            yield from re.findall(r"`([^`]+)`", line)


def test_every_make_target_in_documents_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    unknown = [
        f"{path}: make {target}"
        for path, text in documents()
        for code in code_in(text)
        for target in re.findall(r"(?:^|[;&|]|\s)make ([a-z]+(?:-[a-z]+)*)\b", code)
        if target not in targets
    ]
    assert unknown == []


def test_every_target_says_what_it_does() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    told = re.findall(r"^([a-z-]+):.*## \S", makefile, re.MULTILINE)
    assert sorted(told) == sorted(phony.split())


def test_links_between_documents_resolve() -> None:
    dead = [
        f"{path}: {target}"
        for path, text in documents()
        for target in LINK.findall(text)
        if "://" not in target and not target.startswith("mailto:") and not ((ROOT / path).parent / target).exists()
    ]
    assert dead == []


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    pages = {path.removeprefix("docs/") for path, _ in documents() if path.startswith("docs/")} - {"README.md"}
    assert sorted(pages - set(LINK.findall(index))) == []


def code_table() -> dict[str, tuple[int, bool]]:
    """Status in the chat format and whether waiting helps, by code, as the page tells them."""
    page = (ROOT / "docs/errors.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z_]+)` \| (\d{3}) \| (yes|no) \| \S", page, re.MULTILINE)
    return {code: (int(status), helps == "yes") for code, status, helps in rows}


def test_every_denial_code_is_documented() -> None:
    assert sorted(code_table()) == sorted(code.value for code in Code)


def test_documents_say_which_denials_end_by_waiting() -> None:
    assert {code for code, (_, helps) in code_table().items() if helps} == {code.value for code in TRANSIENT}


def test_the_pattern_for_secret_scanners_is_the_one_we_use() -> None:
    assert rf"\b{SECRET_PATTERN.pattern}\b" in (ROOT / "SECURITY.md").read_text(encoding="utf-8")


def test_unreleased_changes_are_told() -> None:
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
