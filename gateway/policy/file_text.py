"""From the bytes of a policy file to its lines, refusing whatever hides a rule from an editor or from Casbin."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.policy.findings import Finding

BYTES_MAX = 16 * 1024 * 1024
_BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_COUNT = re.compile(r"#\s*rows:\s*(.*)")


@dataclass(frozen=True, slots=True)
class Line:
    number: int
    text: str


@dataclass(frozen=True, slots=True)
class FileText:
    """`rows` are the lines that are neither blank nor comments."""

    path: str
    rows: tuple[Line, ...]
    findings: tuple[Finding, ...]


def text_of(path: str, content: bytes) -> FileText:
    findings: list[Finding] = []
    text = _decoded(path, content, findings)
    # What stands behind the last newline is half a row; that it is there has been found above.
    lines = tuple(_lines(path, text[: text.rfind("\n") + 1], findings))
    rows = tuple(line for line in lines if line.text.strip(" ") and not line.text.lstrip(" ").startswith("#"))
    if not findings and not rows:
        findings.append(Finding(path, 0, 0, "the file holds no row", "write rows, or remove the file"))
    findings.extend(_count_findings(path, lines, len(rows)))
    return FileText(path, rows, tuple(findings))


def _decoded(path: str, content: bytes, findings: list[Finding]) -> str:
    if len(content) > BYTES_MAX:
        findings.append(Finding(path, 0, 0, f"the file is larger than {BYTES_MAX} bytes", "split it"))
        return ""
    if content.startswith(_BYTE_ORDER_MARKS):
        findings.append(Finding(path, 1, 1, "the file begins with a byte order mark", "save it as UTF-8 without BOM"))
        return content.removeprefix(_BYTE_ORDER_MARKS[0]).decode(errors="ignore")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        before = content[: error.start].decode()
        line = before.count("\n") + 1
        column = len(before) - before.rfind("\n")
        findings.append(Finding(path, line, column, "this is not UTF-8", "save the file as UTF-8"))
        return ""
    if text and not text.endswith("\n"):
        last = text.rpartition("\n")[2]
        findings.append(
            Finding(
                path,
                text.count("\n") + 1,
                len(last) + 1,
                "the file does not end with a newline: it may be cut off",
                "check the last row and end it with a newline",
            )
        )
    return text


def _lines(path: str, text: str, findings: list[Finding]) -> Iterator[Line]:
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.removesuffix("\r")
        if not line.isprintable():
            column, stray = next((at, sign) for at, sign in enumerate(line, start=1) if not sign.isprintable())
            findings.append(
                Finding(path, number, column, f"invisible or control character U+{ord(stray):04X}", "remove it")
            )
            continue
        yield Line(number, line)


def _count_findings(path: str, lines: tuple[Line, ...], rows: int) -> Iterator[Finding]:
    """`# rows: N` before the rows proves that a file is whole, even one that was cut between two rows; after them, it
    would be cut off with them."""
    for line in lines:
        count = _COUNT.match(line.text)
        if count and count.group(1).strip() != str(rows):
            yield Finding(
                path, line.number, 1, f"the file holds {rows} rows, not {count.group(1).strip()}", f"# rows: {rows}"
            )
