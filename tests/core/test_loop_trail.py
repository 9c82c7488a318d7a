"""What tools do again and again: loops are found by the call they are one too many, work is let go on."""

from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.loop import Detector, LoopAction, LoopRules, judge
from gateway.core.loop_memory import CONVERSATIONS_KEPT, TWINS_MAX, LoopMemory, Sighting, Turn
from gateway.core.loop_text import Step, step_of
from gateway.core.loop_trail import Trail

RULES = LoopRules()
NOW_US = 1_795_521_600_000_000
HERE = "127.0.0.1:50001"


def step(tool: str, arguments: object, result: str, *, failed: bool = False) -> Step:
    return step_of(tool.encode(), f"{tool} {arguments}".encode(), result, says_failed=failed)


def paused_at(steps: Iterable[Step]) -> tuple[Detector, int] | None:
    """What stopped it, and with which step."""
    trail = Trail()
    for number, each in enumerate(steps, 1):
        trail.take(each)
        verdict = judge(trail.findings(each.tool), RULES)
        if verdict is not None and verdict.answer.action is LoopAction.PAUSE:
            return verdict.finding.detector, number
    return None


def many(count: int, make: Callable[[int], Step]) -> list[Step]:
    return [make(number) for number in range(count)]


PAGE = "Sign in to continue reading this page of the manual. " * 8
LOOPS = {
    "the same call": (many(30, lambda n: step("read", "a", "text")), Detector.IDENTICAL_TOOL_CALLS, 6),
    "the same call, another serial number": (
        many(30, lambda n: step("add", "milk", f'{{"id": {n}, "text": "milk"}}')),
        Detector.IDENTICAL_TOOL_CALLS,
        6,
    ),
    "a state that tells nothing but the time": (
        many(30, lambda n: step("status", "j", f"state blocked at 2026-11-24T10:{n:02d}:07Z")),
        Detector.IDENTICAL_TOOL_CALLS,
        12,
    ),
    "two in turns": (many(30, lambda n: step("read", n % 2, f"text {n % 2}")), Detector.CYCLE, 8),
    "three in turns": (many(30, lambda n: step("read", n % 3, f"text {n % 3}")), Detector.CYCLE, 12),
    "four in turns": (many(30, lambda n: step("read", n % 4, f"text {n % 4}")), Detector.CYCLE, 16),
    "nine in turns": (many(60, lambda n: step("read", n % 9, f"state of {n % 9}")), Detector.NO_PROGRESS, 28),
    "searching other words, finding nothing": (
        many(30, lambda n: step("search", n, "No results found.")),
        Detector.IDENTICAL_RESULTS,
        10,
    ),
    "the same page for every address": (many(30, lambda n: step("fetch", n, PAGE)), Detector.IDENTICAL_RESULTS, 10),
    "two tools, neither finds anything": (
        many(60, lambda n: step("search" if n % 2 else "fetch", n, "nothing found")),
        Detector.IDENTICAL_RESULTS,
        20,
    ),
    "failing in ever new ways": (
        many(30, lambda n: step("query", n, f"Error: table t{n} is unknown")),
        Detector.ERRORS_IN_A_ROW,
        10,
    ),
    "failing by the protocol's word": (
        many(30, lambda n: step("query", n, f"no such thing {n}", failed=True)),
        Detector.ERRORS_IN_A_ROW,
        10,
    ),
    "a label for everything": (many(60, lambda n: step("classify", n, "spam")), Detector.IDENTICAL_RESULTS, 30),
}


@pytest.mark.parametrize("story", LOOPS)
def test_a_loop_is_found(story: str) -> None:
    steps, detector, at = LOOPS[story]
    assert paused_at(steps) == (detector, at)


WORK = {
    "other files": many(200, lambda n: step("read", n, f"file {n}")),
    "progress is polled": many(100, lambda n: step("status", "j", f'{{"state": "running", "progress": {n}}}')),
    "tests between edits": [
        each
        for n in range(40)
        for each in (step("edit", n, "ok"), step("test", "", f"{40 - n} failed, {n} passed in 0.{n}s"))
    ],
    "writing rows": many(200, lambda n: step("write", n, '{"ok": true}')),
    "all clean": many(200, lambda n: step("lint", n, "No issues found.")),
    "all clean in JSON": many(200, lambda n: step("lint", n, '{"issues": []}')),
    "labels": many(200, lambda n: step("classify", n, ("spam", "ham", "ham")[n % 3])),
    "five waits for each state": [
        step("status", "j", f"state {state}") for state in ("queued", "built", "signed", "out") for _ in range(5)
    ],
    "everything read twice": [step("read", n, f"text of {n}") for _ in range(2) for n in range(40)],
    "nine errors, then one that works": [
        step("query", n, f"Error: {n}" if n % 10 else f"found {n} words") for n in range(1, 101)
    ],
    "a status line between new things": [
        each for n in range(60) for each in (step("git", "status", "clean tree"), step("read", n, f"new {n}"))
    ],
}


@pytest.mark.parametrize("story", WORK)
def test_work_goes_on(story: str) -> None:
    assert paused_at(WORK[story]) is None


def test_new_words_of_a_person_are_something_new() -> None:
    trail = Trail()
    for number in range(30):
        trail.take(step("search", number, "No results found."))
        trail.hear(f"look for {number}".encode() if number % 5 == 0 else b"go on")
        verdict = judge(trail.findings(b"search"), RULES)
        assert verdict is None or verdict.answer.action is LoopAction.WARN


def test_talk_that_repeats_is_stale_from_the_third_time() -> None:
    trail = Trail()
    seen = []
    for _ in range(14):
        trail.talk(b"working on it / continue")
        seen.append(max((each.times for each in trail.findings(None)), default=0))
    assert seen == [0, 0, *range(1, 13)]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=80))
def test_whatever_comes_the_memory_stays_small_and_the_last_step_counts(story: list[tuple[str, int]]) -> None:
    """The count of equal calls is that of the equal steps at the end."""
    trail = Trail()
    run, before = 0, None
    for name, result in story:
        each = step("tool", name, f"state {result}")
        run = run + 1 if (name, result) == before else 1
        before = (name, result)
        trail.take(each)
        found = [f.times for f in trail.findings(each.tool) if f.detector is Detector.IDENTICAL_TOOL_CALLS]
        assert max(found, default=1) == run


# One session: conversations and MCP


def sighting(
    request: bytes, *turns: Turn, conversation: bytes = b"c", base: bytes = b"", begins: bool = False
) -> Sighting:
    return Sighting(request, bytes, conversation, begins, base, turns)


def turn(each: Step, *said: bytes) -> Turn:
    return Turn(each, b"", said)


def action(found: object) -> LoopAction | None:
    verdict = judge(found, RULES)  # type: ignore[arg-type]
    return None if verdict is None else verdict.answer.action


READ = step("read", "a", "text")


def test_rule_24_model_and_mcp_sightings_are_not_added_up() -> None:
    memory = LoopMemory()
    seen = []
    for number in range(5):
        model = memory.judge_model(sighting(b"%d" % number, turn(READ)), NOW_US)
        mcp = memory.judge_mcp(READ.tool, READ.call, HERE, NOW_US)
        assert memory.mcp_begins(READ.call, HERE, NOW_US)
        memory.mcp_ended(READ.call, READ)
        memory.answered(b"%d" % number, b"", NOW_US)
        seen.append((action(model), action(mcp)))
    warn = LoopAction.WARN
    assert seen == [(None, None), (None, None), (warn, warn), (warn, warn), (warn, warn)]
    assert action(memory.judge_mcp(READ.tool, READ.call, HERE, NOW_US)) is LoopAction.PAUSE
    assert action(memory.judge_model(sighting(b"6", turn(READ)), NOW_US)) is LoopAction.PAUSE


def test_rule_24_a_request_sent_again_has_no_new_tool_calls() -> None:
    """An SDK that retries, or an agent that words its request anew while its provider is down, runs in no circles."""
    memory = LoopMemory()
    for number in range(10):
        found = memory.judge_model(sighting(b"%d" % (number // 2), turn(READ)), NOW_US)
        memory.withdraw(b"%d" % (number // 2))
        assert action(found) is None


def test_rule_24_turns_that_left_no_trace_are_counted_once() -> None:
    """A provider that reports no usage leaves no turn to go on from: each request brings all since the last one."""
    memory = LoopMemory()
    turns: tuple[Turn, ...] = ()
    for number in range(5):
        turns = (*turns, turn(READ))
        found = memory.judge_model(sighting(b"%d" % number, *turns, base=b"turn"), NOW_US)
        memory.answered(b"%d" % number, b"", NOW_US)
        assert action(found) is not LoopAction.PAUSE
    found = memory.judge_model(sighting(b"5", *turns, turn(READ), base=b"turn"), NOW_US)
    assert action(found) is LoopAction.PAUSE


def test_sub_agents_that_begin_alike_are_no_loop() -> None:
    memory = LoopMemory()
    for worker in range(CONVERSATIONS_KEPT):
        name = b"worker %d" % worker
        assert not memory.judge_model(sighting(name, conversation=name, begins=True), NOW_US)
        memory.answered(name, b"", NOW_US)
    for worker in range(CONVERSATIONS_KEPT):
        name = b"worker %d" % worker
        assert action(memory.judge_model(sighting(name + b"!", turn(READ), conversation=name), NOW_US)) is None
        memory.answered(name + b"!", b"", NOW_US)


def test_a_conversation_whose_beginning_was_never_seen_is_counted_with_its_like() -> None:
    memory = LoopMemory()
    found = None
    for number in range(6):
        found = memory.judge_model(sighting(b"%d" % number, turn(READ), conversation=b"%d" % number), NOW_US)
        memory.answered(b"%d" % number, b"", NOW_US)
    assert action(found) is LoopAction.PAUSE


def test_a_conversation_first_seen_in_the_middle_keeps_its_count() -> None:
    memory = LoopMemory()
    seen = []
    for number in range(6):
        base = b"turn %d" % number if number else b""
        seen.append(action(memory.judge_model(sighting(b"%d" % number, turn(READ), base=base), NOW_US)))
        memory.answered(b"%d" % number, b"", NOW_US)
    assert seen[4:] == [LoopAction.WARN, LoopAction.PAUSE]


@pytest.mark.parametrize("quick", [True, False])
def test_equal_mcp_calls_at_the_same_time_are_twins(quick: bool) -> None:
    """Eight workers ask at once; a quick tool answers the first ones before the last have asked."""
    memory, now_us = LoopMemory(), NOW_US
    for _ in range(3):
        counted = [memory.mcp_begins(READ.call, HERE, now_us), memory.mcp_begins(READ.call, HERE, now_us)]
        for _ in range(6):
            if quick:
                memory.mcp_ended(READ.call, READ if counted[0] and not any(counted[1:]) else None)
            now_us += 10_000
            assert memory.judge_mcp(READ.tool, READ.call, HERE, now_us) == []
            counted.append(memory.mcp_begins(READ.call, HERE, now_us))
        assert counted == [True] + [False] * 7
        for _ in range(2 if quick else 8):
            memory.mcp_ended(READ.call, None)
        now_us += 3_000_000


@pytest.mark.parametrize(("connections", "pause_us", "stopped"), [(1, 10_000, 6), (8, 10_000, None), (8, 900_000, 6)])
def test_quick_mcp_calls_on_several_connections_were_asked_at_the_same_time(
    connections: int, pause_us: int, stopped: int | None
) -> None:
    """A tool may answer each of eight workers before the next one's request is here."""
    memory, now_us = LoopMemory(), NOW_US
    for number in range(1, 9):
        connection = f"127.0.0.1:{50_000 + number % connections}"
        if action(memory.judge_mcp(READ.tool, READ.call, connection, now_us)) is LoopAction.PAUSE:
            assert number == stopped
            return
        counts = memory.mcp_begins(READ.call, connection, now_us)
        memory.mcp_ended(READ.call, READ if counts else None)
        now_us += pause_us
    assert stopped is None


def test_a_flood_of_equal_mcp_calls_at_the_same_time_is_counted_in_the_end() -> None:
    memory = LoopMemory()
    counted = [memory.mcp_begins(READ.call, HERE, NOW_US) for _ in range(100)]
    assert counted.index(True, 1) == TWINS_MAX + 1
    for each in counted:
        memory.mcp_ended(READ.call, READ if each else None)
    assert action(memory.judge_mcp(READ.tool, READ.call, HERE, NOW_US + 1_000_000)) is LoopAction.PAUSE


def test_an_mcp_call_without_an_answer_is_an_error_and_no_equal_call() -> None:
    memory = LoopMemory()
    for number in range(10):
        assert action(memory.judge_mcp(READ.tool, READ.call, HERE, NOW_US)) is (
            LoopAction.WARN if number >= 5 else None
        )
        memory.mcp_begins(READ.call, HERE, NOW_US)
        memory.mcp_ended(READ.call, Step(READ.tool, READ.call, failed=True))
    verdict = judge(memory.judge_mcp(READ.tool, READ.call, HERE, NOW_US), RULES)
    assert verdict is not None
    assert verdict.finding.detector is Detector.ERRORS_IN_A_ROW


def test_after_a_person_resumed_counting_starts_anew() -> None:
    memory = LoopMemory()
    for number in range(5):
        memory.judge_model(sighting(b"r", turn(READ)), NOW_US)
        memory.answered(b"r", b"a", NOW_US)
        memory.mcp_begins(READ.call, HERE, NOW_US)
        memory.mcp_ended(READ.call, READ)
        memory.upstream.failed(NOW_US, None, impatient=number > 0)
    memory.forgive()
    assert memory.judge_model(sighting(b"r", turn(READ)), NOW_US) == []
    assert memory.judge_mcp(READ.tool, READ.call, HERE, NOW_US) == []
    assert memory.upstream.count == 0
    assert memory.spared(7)
    assert memory.spared(7), "for the whole quarter of an hour"
    assert not memory.spared(8)
