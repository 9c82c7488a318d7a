"""The benchmarks of correctness hold at a small size, say so in one line, and cannot pass on nothing."""

from pathlib import Path

import pytest

from benchmarks.correctness.__main__ import main, run_bench, table
from benchmarks.correctness.benches import BENCHES, Bench
from benchmarks.correctness.explained import figures
from benchmarks.correctness.report import Report, differing, joined
from benchmarks.correctness.tricks import tricks

SMALL = [bench for bench in BENCHES if bench.in_tests]


@pytest.mark.parametrize("bench", SMALL, ids=[bench.name for bench in SMALL])
def test_every_benchmark_of_correctness_holds_at_a_small_size(tmp_path: Path, bench: Bench) -> None:
    report = run_bench(bench, tmp_path, small=True)
    assert report.broken == ()
    assert any(character.isdigit() for character in report.figure)
    assert report.raw


def machine(**changes: object) -> dict[str, object]:
    limit = {"name": "l", "unit": "tokens", "limit": 100, "spent": 60, "held": 30, "remaining": 10, "asked": 11}
    return {"call": "call_1", "limit": {**limit, **changes}}


def test_figures_that_add_up() -> None:
    assert figures(machine()) == []
    assert figures(machine(unit="usd", limit=0.1, spent=0.1, held=0.000002, remaining=0, asked=0.000001)) == []
    assert figures({"call": "call_1", "limit": None}) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"asked": 10},
        {"remaining": 11},
        {"spent": 130, "remaining": -60},
        {"held": -30, "remaining": 70, "asked": 71},
        {"asked": 0},
    ],
)
def test_figures_that_do_not(wrong: dict[str, object]) -> None:
    assert figures(machine(**wrong)) != []


def test_a_difference_is_a_broken_promise() -> None:
    assert differing("rows", 1, 1) == []
    assert not Report("", joined([differing("rows", 1, 2)]), {}).passed


def test_no_trick_is_played_twice() -> None:
    requests = [(trick.method, trick.path, trick.headers, trick.body) for trick in tricks()]
    assert len(requests) > 200
    assert len(set(requests)) == len(requests)


def test_they_say_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "C99"]) == 2
    assert ", ".join(bench.name for bench in BENCHES) in capsys.readouterr().err


def test_the_table_keeps_what_was_not_run_again() -> None:
    first, second = BENCHES[:2]
    good, bad = Report("1 of 1", (), {}), Report("0 of 1", ("it broke",), {})
    page = table("", {first: good, second: bad}, "day 1", small=True)
    assert f"| {first.name} | {first.title} | 1 of 1 | held | day 1, small |" in page
    assert "| 0 of 1 | **broken** | day 1, small |" in page
    again = table(page, {second: good}, "day 2", small=False)
    assert f"| {first.name} | {first.title} | 1 of 1 | held | day 1, small |" in again
    assert "**broken**" not in again
    assert "day 2, full" in again
