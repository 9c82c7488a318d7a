"""How commands speak: tables, CSV, JSON, and nothing that could steer a terminal or a spreadsheet."""

import csv
import io
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.journal import told
from gateway.cli.moments import moment
from gateway.cli.output import csv_line, print_json, printable, table


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("alice", "alice"),
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("-", "-"),
        ("a,b", '"a,b"'),
        ('say "hi"', '"say ""hi"""'),
        ('=HYPERLINK("x")', '"\'=HYPERLINK(""x"")"'),
        (None, ""),
        (-5, "-5"),
        (0.000032, "0.000032"),
        (12.5, "12.5"),
    ],
)
def test_cells_of_csv_are_defused_and_quoted(value: object, shown: str) -> None:
    assert csv_line([value]) == shown


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\x00")), min_size=2))
def test_csv_reads_back_and_no_text_is_a_formula(values: list[str]) -> None:
    (read,) = csv.reader(io.StringIO(csv_line(values)))
    assert [
        cell.removeprefix("'") if cell != value else cell for cell, value in zip(read, values, strict=True)
    ] == values
    assert not [cell for cell in read if cell.startswith(("=", "+", "@", "\t")) or (cell[:1] == "-" and cell != "-")]


@given(st.text())
def test_nothing_printable_steers_a_terminal(text: str) -> None:
    assert all(character.isprintable() or character == "\n" for character in printable(text))


def test_a_table_is_plain_columns_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"user": "alice", "cost_usd": 0.000032, "tools": None},
        {"user": "b\x1b[31m\nob", "cost_usd": 1.0, "tools": []},
    ]
    table(("user", "cost_usd", "tools"), rows, empty="nothing")
    assert capsys.readouterr().out.splitlines() == [
        "user          cost_usd  tools",
        "alice         0.000032  -",
        r"b\x1b[31m ob  1         -",
    ]


def test_an_empty_table_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    table(("user",), [], empty="Nothing was booked.")
    assert capsys.readouterr().out == "Nothing was booked.\n"


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    print_json([{"name": "ä"}])
    assert capsys.readouterr().out == '[\n  {\n    "name": "ä"\n  }\n]\n'


@pytest.mark.parametrize("text", ["2027-01-31", "2027-01-31T12:00:00Z", "soon", "0d", "7", "-7d", "999999w", None])
def test_what_is_no_age_is_passed_on(text: str | None) -> None:
    assert moment(text) == text


def test_ages_become_moments() -> None:
    week, day = moment("7d"), moment("24h")
    assert week is not None
    assert day is not None
    assert week < day
    assert day.endswith("+00:00")


def test_a_table_on_a_terminal_cuts_nothing_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """An id that is cut cannot be given to the next command."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "40")
    session = "ses_" + "x" * 26
    table(("id", "state", "cost_usd"), [{"id": session, "state": "paused by a person", "cost_usd": 0.000031}], empty="")
    (head, row) = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()).splitlines()
    assert head.split() == ["id", "state", "cost_usd"]
    assert row.split() == [session, "paused", "by", "a", "person", "0.000031"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("kind", "doc", "cells"),
    [
        ("denied", {"subject": "call_1", "code": "model_denied", "attribution": {"key": "ci"}, "count": 1},
         ("call_1", "ci", "model_denied")),
        ("denied", {"subject": "call_1", "code": "rate_limited", "attribution": {"key": "ci"}, "count": 70},
         ("call_1", "ci", "rate_limited, 70 times")),
        ("settled", {"subject": "call_1", "outcome": "ok", "posted": {"usd_micros": 31}, "attribution": {"key": "ci"}},
         ("call_1", "ci", "ok, 0.000031 USD posted")),
        ("held", {"subject": "call_1", "model": "small", "held": {"usd_micros": 5_000_000}, "attribution": {}},
         ("call_1", None, "model small, 5 USD held")),
        ("session", {"subject": "ses_1", "action": "paused", "reason": "loop", "actor": "admin:eve"},
         ("ses_1", "admin:eve", "paused, loop")),
        ("refusals", {"subject": "", "reason": "key_unknown", "source": "127.0.0.0/24", "count": 2},
         ("", None, "key_unknown, 127.0.0.0/24, 2 times")),
    ],
)  # fmt: skip
def test_a_row_of_the_journal_says_who_did_what(
    kind: str, doc: dict[str, object], cells: tuple[str | None, ...]
) -> None:
    row = told({"seq": 1, "at": "2026-01-01T00:00:00Z", "kind": kind, "doc": doc})
    assert (row["subject"], row["who"], row["what"]) == cells
