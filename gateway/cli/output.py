"""How commands speak: results on standard output, errors on standard error; 0 ok, 1 finding, 2 usage, 3 unavailable.

`--json` prints one JSON document. Tables are drawn by rich on a terminal, plain columns elsewhere; NO_COLOR holds.
"""

import json
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import typer

from gateway.cli.lazy import load

OK, FINDING, USAGE, UNAVAILABLE = 0, 1, 2, 3
CELL_WIDTH_MAX = 60
TABLE_WIDTH_MAX = 2_000
PATIENCE_S = 2.0
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def fail(message: str, code: int = USAGE) -> NoReturn:
    """Says what is wrong and ends."""
    print(f"comptroller: {message}", file=sys.stderr)
    raise typer.Exit(code)


@contextmanager
def patience() -> Iterator[None]:
    """Tells a person at a terminal that work is under way, if it takes long."""
    if not sys.stderr.isatty():
        yield
        return
    telling = threading.Timer(PATIENCE_S, lambda: print("working ...", file=sys.stderr))
    telling.daemon = True
    telling.start()
    try:
        yield
    finally:
        telling.cancel()


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def say(text: str) -> None:
    print(printable(text))


def table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], *, empty: str) -> None:
    """One line a row, only these columns."""
    if not rows:
        print(empty)
        return
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    if sys.stdout.isatty():
        _rich_table(columns, cells, rows)
        return
    widths = [max(len(column), *(len(line[i]) for line in cells)) for i, column in enumerate(columns)]
    for line in [list(columns), *cells]:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def csv_line(values: Sequence[Any]) -> str:
    """RFC 4180; a leading character that a spreadsheet takes for a formula is defused."""
    fields = []
    for value in values:
        text = "" if value is None else decimal(value) if isinstance(value, float) else str(value)
        if isinstance(value, str) and text.startswith(_FORMULA) and text != "-":
            text = "'" + text
        quoted = any(mark in text for mark in ',"\n\r')
        fields.append('"' + text.replace('"', '""') + '"' if quoted else text)
    return ",".join(fields)


def decimal(value: float) -> str:
    """To the micro, never with an exponent."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def printable(text: str) -> str:
    """Text that cannot steer a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def _rich_table(columns: Sequence[str], cells: Sequence[Sequence[str]], rows: Sequence[Mapping[str, Any]]) -> None:
    """Nothing is cut off, for ids and sums are there to be used: what is wider than the terminal goes on below."""
    drawn = load("rich.table").Table(box=None, pad_edge=False)
    for column in columns:
        numeric = all(isinstance(row.get(column), int | float) for row in rows)
        drawn.add_column(column, justify="right" if numeric else "left", no_wrap=True)
    for line in cells:
        drawn.add_row(*(load("rich.text").Text(text) for text in line))
    console = load("rich.console").Console(no_color="NO_COLOR" in os.environ, highlight=False, width=TABLE_WIDTH_MAX)
    console.print(drawn, soft_wrap=True)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return decimal(value)
    if isinstance(value, dict):
        value = json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return ",".join(str(item) for item in value) or "-"
    text = printable(str(value)).replace("\n", " ")
    return text if len(text) <= CELL_WIDTH_MAX else text[: CELL_WIDTH_MAX - 1] + "…"
