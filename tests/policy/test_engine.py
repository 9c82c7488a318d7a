"""Loading and reloading: whole or not at all, tested before it is in force, and a broken file changes nothing."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.core.condition_context import EMPTY_CONTEXT, PolicyContext
from gateway.policy.engine import CASBIN, COMPILED, PolicyEngine, check, compile_policy, load_policy, run_tests
from gateway.policy.findings import PolicyInvalid
from gateway.policy.source import PolicySource
from tests.policy.policies import MODEL_CONF, write_policy

ALICE = frozenset({"user:alice"})
BOB = frozenset({"user:bob"})
ROWS = "p, user:alice, gpt-5, -, model:invoke, , allow\np, role:everyone, gpt-old, *, model:invoke, , deny\n"
TESTS = """\
- as: {user: alice}
  model: gpt-5
  expect: allow
  because: alice may use gpt-5
- {as: {user: bob}, model: gpt-5, expect: deny, because: bob may not}
"""


class Clock:
    def __init__(self) -> None:
        self.now_us = 1_000

    def __call__(self) -> int:
        return self.now_us


def rows_path(root: Path) -> Path:
    return root / "policies" / "10-team.csv"


async def loaded(root: Path, **options) -> PolicyEngine:
    return await PolicyEngine.load(write_policy(root, ROWS, TESTS), now_us=Clock(), **options)


def may_use(engine: PolicyEngine, subjects: frozenset[str], model: str = "gpt-5") -> bool:
    return engine.decide(subjects, model, "-", "model:invoke", EMPTY_CONTEXT).allowed


@pytest.mark.parametrize("engine", [COMPILED, CASBIN])
async def test_loads_decides_and_says_which_version(tmp_path: Path, engine: str) -> None:
    policy = await loaded(tmp_path, engine=engine)
    assert (may_use(policy, ALICE), may_use(policy, BOB), may_use(policy, ALICE, "gpt-old")) == (True, False, False)
    assert policy.loaded_at_us == 1_000
    assert policy.decide(ALICE, "gpt-5", "-", "model:invoke", EMPTY_CONTEXT).policy_version == policy.version
    assert policy.policy.engine == engine


async def test_a_reload_takes_up_what_changed(tmp_path: Path) -> None:
    clock = Clock()
    policy = await PolicyEngine.load(write_policy(tmp_path, ROWS), now_us=clock)
    before, seen = policy.version, policy.fingerprint()
    rows_path(tmp_path).write_text(ROWS + "p, user:bob, gpt-5, -, model:invoke, , allow\n")
    clock.now_us = 2_000
    assert policy.fingerprint() != seen
    assert await policy.reload() == ()
    assert may_use(policy, BOB)
    assert policy.version != before
    assert policy.loaded_at_us == 2_000


def cut_in_half(root: Path) -> None:
    rows_path(root).write_text(ROWS[: len(ROWS) // 2])


def delete_rows(root: Path) -> None:
    rows_path(root).unlink()


def replace_by_directory(root: Path) -> None:
    rows_path(root).unlink()
    rows_path(root).mkdir()


def break_a_test(root: Path) -> None:
    rows_path(root).write_text(ROWS.replace("gpt-5,", "gpt-6,"))


def break_tests_yaml(root: Path) -> None:
    (root / "policies" / "tests.yaml").write_text(TESTS + "- as: {user: x\n")


def break_the_model(root: Path) -> None:
    (root / "model.conf").write_text("[matchers]\nm = true\n")


def rename_wrongly(root: Path) -> None:
    rows_path(root).rename(root / "policies" / "10-team.CSV")


def add_wrong_tests(root: Path) -> None:
    (root / "policies" / "tests.yml").write_text(TESTS)


def add_a_subdirectory(root: Path) -> None:
    (root / "policies" / "more").mkdir()
    (root / "policies" / "more" / "x.csv").write_text(ROWS)


def cut_the_link(root: Path) -> None:
    rows_path(root).unlink()
    rows_path(root).symlink_to(root / "nowhere.csv")


@pytest.mark.parametrize(
    ("damage", "place"),
    [
        (cut_in_half, "policies/10-team.csv:2:"),
        (delete_rows, "policies/: no .csv file here"),
        (replace_by_directory, "policies/: no .csv file here"),
        (break_a_test, "policies/tests.yaml:1:1: expected allow because alice may use gpt-5; but no policy row"),
        (break_tests_yaml, "policies/tests.yaml:7:1: no YAML"),
        (break_the_model, "model.conf"),
        (rename_wrongly, "policies/10-team.CSV: this file is not read"),
        (add_wrong_tests, "policies/tests.yml: this file is not read"),
        (add_a_subdirectory, "policies/more: rows in a subdirectory"),
        (cut_the_link, "policies/10-team.csv: cannot be read"),
    ],
)
async def test_a_broken_policy_while_running_changes_nothing_and_says_where(
    tmp_path: Path, damage: Callable[[Path], None], place: str
) -> None:
    policy = await loaded(tmp_path)
    version, seen = policy.version, policy.fingerprint()
    damage(tmp_path)
    assert policy.fingerprint() != seen
    findings = await policy.reload()
    assert any(str(finding).startswith(place) for finding in findings), findings
    assert check(PolicySource(tmp_path)) == findings
    assert (policy.version, may_use(policy, ALICE), may_use(policy, BOB)) == (version, True, False)
    with pytest.raises(PolicyInvalid):
        await PolicyEngine.load(PolicySource(tmp_path), now_us=Clock())


def swap_the_link(root: Path) -> None:
    link = rows_path(root)
    status = link.stat()
    link.unlink()
    other = root / "other.csv"
    other.write_text(ROWS.replace("alice", "alicf"))
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    link.symlink_to(other)


def same_size_same_time(root: Path) -> None:
    status = rows_path(root).stat()
    replacement = root / "replacement"
    replacement.write_text(ROWS.replace("alice", "alicf"))
    os.utime(replacement, ns=(status.st_atime_ns, status.st_mtime_ns))
    replacement.replace(rows_path(root))


def add_a_file(root: Path) -> None:
    (root / "policies" / "20-more.csv").write_text("p, user:z, m, -, model:invoke, , allow\n")


@pytest.mark.parametrize("change", [swap_the_link, same_size_same_time, add_a_file, delete_rows])
async def test_the_fingerprint_sees(tmp_path: Path, change: Callable[[Path], None]) -> None:
    policy = await loaded(tmp_path)
    seen = policy.fingerprint()
    assert policy.fingerprint() == seen
    change(tmp_path)
    assert policy.fingerprint() != seen


def test_expectations_are_run_and_reported(tmp_path: Path) -> None:
    wrong = TESTS + "- {as: {user: bob}, model: gpt-5, expect: allow, because: the boss said so}\n"
    policy = compile_policy(write_policy(tmp_path, ROWS, wrong))
    results = run_tests(policy)
    assert [result.passed for result in results] == [True, True, False]
    with pytest.raises(PolicyInvalid, match=r"tests\.yaml:6:1: expected allow because the boss said so"):
        load_policy(PolicySource(tmp_path))


async def test_a_decision_that_raises_is_a_denial(tmp_path: Path) -> None:
    rows = "p, user:alice, *, *, tool:call, limit['day'].used_ratio < 1, allow\n"
    policy = await PolicyEngine.load(write_policy(tmp_path, rows), now_us=Clock())

    def broken(_name: str) -> float:
        raise ZeroDivisionError

    context = PolicyContext(limit_used_ratio=broken)
    decision = policy.decide(ALICE, "m", "t", "tool:call", context)
    assert (decision.allowed, decision.rule) == (False, None)
    assert not policy.decide_tool_call(ALICE, ("m",), "t", context).allowed
    assert policy.decide(ALICE, "m", "t", "tool:call", PolicyContext(limit_used_ratio=lambda _: 0.5)).allowed


async def test_rule_20_a_tool_call_is_judged_with_every_model_of_the_session(tmp_path: Path) -> None:
    rows = "p, user:alice, *, *, tool:call, , allow\np, user:alice, risky, shell__run, tool:call, , deny\n"
    rows += "p, user:alice, *, *, tool:list, args.x == 1, allow\np, user:bob, m, *, tool:call, , allow\n"
    policy = await PolicyEngine.load(write_policy(tmp_path, rows), now_us=Clock())
    assert policy.decide_tool_call(ALICE, ("a", "b"), "shell__run", EMPTY_CONTEXT).allowed
    assert not policy.decide_tool_call(ALICE, ("a", "risky"), "shell__run", EMPTY_CONTEXT).allowed
    assert not policy.decide_tool_call(ALICE, (), "shell__run", EMPTY_CONTEXT).allowed
    assert policy.decide_tool_call(ALICE, (), "files__read", EMPTY_CONTEXT).allowed
    assert not policy.decide_tool_call(BOB, (), "files__read", EMPTY_CONTEXT).allowed
    assert policy.lists_tool(ALICE, (), "files__read", EMPTY_CONTEXT).allowed


async def test_readers_in_threads_see_no_wrong_decision_while_policies_come_and_go(tmp_path: Path) -> None:
    """Both sound policies ban mallory, one by row and one by role; every second file on the way is broken."""
    sound = [
        "p, user:alice, *, *, model:invoke, , allow\np, user:mallory, *, *, model:invoke, , allow\n"
        f"p, {subject}, *, *, model:invoke, , deny\n{link}"
        for subject, link in (("user:mallory", ""), ("role:banned", "g, user:mallory, role:banned\n"))
    ]
    broken = [sound[0].replace("deny", "Deny"), sound[1].partition("g, ")[0], "", sound[0][:-3]]
    policy = await PolicyEngine.load(write_policy(tmp_path, sound[0]), now_us=Clock())
    mallory, alice = frozenset({"user:mallory"}), frozenset({"user:alice"})
    stopped = False

    def read(reader: int) -> tuple[int, int]:
        decided = wrong = 0
        while not stopped:
            model = f"m{decided % 97}-{reader}"
            wrong += policy.decide(mallory, model, "t", "model:invoke", EMPTY_CONTEXT).allowed
            wrong += not policy.decide(alice, model, "t", "model:invoke", EMPTY_CONTEXT).allowed
            wrong += not policy.decide_call(alice, model, ("a", "b"), EMPTY_CONTEXT).allowed
            decided += 3
        return decided, wrong

    refused = []
    with ThreadPoolExecutor(4) as pool:
        readers = [asyncio.get_running_loop().run_in_executor(pool, read, number) for number in range(4)]
        try:
            for number in range(20):
                rows_path(tmp_path).write_text(broken[number // 2 % 4] if number % 2 else sound[number // 2 % 2])
                refused.append(bool(await policy.reload()))
        finally:
            stopped = True
        results = await asyncio.gather(*readers)
    assert refused == [False, True] * 10
    assert sum(wrong for _, wrong in results) == 0
    assert all(decided > 100 for decided, _ in results)


FOREIGN = MODEL_CONF.replace(b"&& r.act == p.act", b"&& (r.act == p.act || p.act == 'portal:*' && r.act == 'portal:*')")
ONLY_ALLOW = MODEL_CONF.replace(b" && !some(where (p.eft == deny))", b"")
FIRST_MATCH = MODEL_CONF.replace(
    b"some(where (p.eft == allow)) && !some(where (p.eft == deny))", b"priority(p.eft) || deny"
)


@pytest.mark.parametrize("model", [FOREIGN, ONLY_ALLOW, FIRST_MATCH])
async def test_rule_22_a_model_of_ones_own_is_evaluated_by_casbin(tmp_path: Path, model: bytes) -> None:
    policy = await PolicyEngine.load(write_policy(tmp_path, ROWS, TESTS, model), now_us=Clock())
    assert policy.policy.engine == CASBIN
    assert (may_use(policy, ALICE), may_use(policy, BOB)) == (True, False)


async def test_rule_22_a_changed_effect_changes_the_meaning(tmp_path: Path) -> None:
    rows = "p, user:alice, *, *, model:invoke, , allow\np, user:alice, gpt-5, -, model:invoke, , deny\n"
    ours = await PolicyEngine.load(write_policy(tmp_path, rows), now_us=Clock())
    assert not may_use(ours, ALICE)
    theirs = await PolicyEngine.load(write_policy(tmp_path, rows, model=FIRST_MATCH), now_us=Clock())
    assert may_use(theirs, ALICE)


async def test_the_shipped_model_is_ours_whatever_its_spacing_and_comments(tmp_path: Path) -> None:
    spaced = b"# mine\n" + MODEL_CONF.replace(b" && ", b"&&").replace(b"\n\n", b"\n\n# note\n")
    policy = await PolicyEngine.load(write_policy(tmp_path, ROWS, TESTS, spaced), now_us=Clock())
    assert policy.policy.engine == COMPILED


MATCHER = MODEL_CONF.rpartition(b"m = ")[2].strip()


@pytest.mark.parametrize(
    ("model", "part"),
    [
        (MODEL_CONF.replace(MATCHER, b"eval(p.cond)"), "calls eval"),
        (MODEL_CONF.replace(MATCHER, b"regexMatch(r.model, p.model)"), "calls regexMatch"),
        (MODEL_CONF.replace(MATCHER, b"keyMatch2(r.model, p.model)"), "calls keyMatch2"),
        (MODEL_CONF.replace(MATCHER, b"g(r.subs, p.sub)"), "calls g"),
        (MODEL_CONF.replace(MATCHER, b"r.ctx.context.args"), "uses r.ctx.context"),
        (MODEL_CONF.replace(MATCHER, b"r.subs.__class__ == p.sub"), "uses r.subs.__class__"),
        (MODEL_CONF.replace(MATCHER, b"r.act == 'a && b'"), "the constant"),
        (MODEL_CONF.replace(MATCHER, b"9 ** 9 == 1"), "uses BinOp"),
        (MODEL_CONF.replace(MATCHER, b"[x for x in r.subs] == p.sub"), "uses ListComp"),
        (MODEL_CONF.replace(MATCHER, b"lambda: 1"), "uses Lambda"),
        (MODEL_CONF.replace(MATCHER, b"(("), "no expression"),
        (MODEL_CONF.replace(MATCHER, b"r.act"), "the matcher fails on model:invoke: RuntimeError"),
        (MODEL_CONF.replace(b"r = subs, model, tool, act, ctx", b"r = sub, obj, act"), "must stay as it is"),
        (MODEL_CONF.replace(b"p = sub, model, tool, act, cond, eft", b"p = sub, obj, act"), "must stay as it is"),
        (MODEL_CONF.replace(b"g = _, _", b"g = _, _, _"), "must stay as it is"),
        (MODEL_CONF.replace(b"some(where (p.eft == allow)) && ", b""), "allows what no row mentions"),
        (MODEL_CONF + b"m2 = true\n", "m2 is not known"),
        (MODEL_CONF + b"m = true\n", "once"),
        (b"\xef\xbb\xbf" + MODEL_CONF, "beyond ASCII"),
        (b"", "must stay as it is"),
    ],
)
def test_rule_22_a_model_out_of_bounds_is_refused(tmp_path: Path, model: bytes, part: str) -> None:
    findings = check(write_policy(tmp_path, ROWS, model=model))
    assert any(part in finding.message and finding.fix for finding in findings), findings
    assert all(finding.path == "model.conf" for finding in findings)


def test_rule_22_a_model_of_ones_own_takes_200_rows(tmp_path: Path) -> None:
    rows = "".join(f"p, user:u{n}, m, -, model:invoke, , allow\n" for n in range(201))
    assert check(write_policy(tmp_path, rows)) == ()
    (finding,) = check(write_policy(tmp_path, rows, model=FOREIGN))
    assert "takes 200 rows, not 201" in finding.message


def test_casbin_logs_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(0):
        load_policy(write_policy(tmp_path, ROWS, TESTS), engine=CASBIN)
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


async def test_explains_rows_that_match_and_rows_that_nearly_do(tmp_path: Path) -> None:
    rows = ROWS + "p, user:alice, gpt-5, -, model:invoke, key.name == 'k', deny\n"
    policy = await PolicyEngine.load(write_policy(tmp_path, rows), now_us=Clock())
    explanation = policy.explain(ALICE, "gpt-5", "-", "model:invoke", EMPTY_CONTEXT)
    assert [(each.rule.place.line, each.counts, each.unknown) for each in explanation.matched] == [
        (1, True, ()),
        (3, True, ("key.name",)),
    ]
    assert [(each.rule.place.line, each.field, each.wanted) for each in explanation.near_misses] == [
        (2, "model", "gpt-old")
    ]
    assert explanation.casbin_allows is False
    assert str(explanation.casbin_rule) == "policies/10-team.csv:3"
    text = "\n".join(explanation.lines())
    for part in (
        "DENY  model:invoke  model gpt-5  tool -",
        "acts as: role:everyone, user:alice",
        "(key.name == 'k') is unknown, unknown: key.name: counts",
        "needs model gpt-old",
        "Casbin says: deny by policies/10-team.csv:3",
        f"policy version {policy.version}",
    ):
        assert part in text


def test_ten_thousand_rows_load_and_agree(tmp_path: Path) -> None:
    rows = "".join(
        f"p, user:u{n % 1000}, model-{n}, -, model:invoke, "
        f"{'' if n % 5 else 'session.depth < 3'}, {'deny' if n % 7 == 0 else 'allow'}\n"
        for n in range(10_000)
    )
    policy = load_policy(write_policy(tmp_path, rows + "# rows: 10000\n"))
    asked = (frozenset({"user:u8"}), "model-8", "-", "model:invoke", EMPTY_CONTEXT)
    assert policy.decider.decide(*asked).rule == "policies/10-team.csv:9"
