"""The policy in force: loaded whole or not at all, swapped as one reference.

Rule: it fails closed. What cannot be read is not loaded, what is not loaded changes nothing, and a decision that
raises is a denial.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from gateway.core.condition_context import AttributeValue, PolicyContext
from gateway.core.decision import CallDecision, Decision
from gateway.policy.agreement import disagreement, disagreements, probe
from gateway.policy.authority import CasbinAuthority
from gateway.policy.expectations import Expectation, ExpectationResult, read_expectations, run
from gateway.policy.explanation import Explanation, explained
from gateway.policy.findings import Finding, PolicyInvalid
from gateway.policy.model_conf import check_foreign_size, read_model_conf
from gateway.policy.observing import Decider, observed_call, observed_tool_call
from gateway.policy.question import Question
from gateway.policy.reader import read_rows
from gateway.policy.reasons import denied_by_failure
from gateway.policy.rows import NONE, TOOL_CALL, TOOL_LIST, Rows
from gateway.policy.snapshot import Snapshot
from gateway.policy.source import FileState, PolicySource, fingerprint, read_source

COMPILED = "compiled"
CASBIN = "casbin"


@dataclass(frozen=True, slots=True)
class LoadedPolicy:
    """One version of a policy, checked and ready. `decider` is what calls ask; `observer` knows the rows that only
    observe, None where there are none. Casbin is built anew for people who ask what it says: kept beside 10,000 rows it
    would cost 9 MB for ever."""

    rows: Rows
    model_text: str
    decider: Decider
    expectations: tuple[Expectation, ...]
    engine: str
    loaded_at_us: int
    observer: Decider | None = None

    def authority(self) -> CasbinAuthority:
        """Takes a tenth of a second with 10,000 rows."""
        return (
            self.decider if isinstance(self.decider, CasbinAuthority) else CasbinAuthority(self.rows, self.model_text)
        )


def load_policy(source: PolicySource, *, engine: str = COMPILED, now_us: int = 0) -> LoadedPolicy:
    """Reads, checks, compiles and tests a policy; takes a while with many rows. Raises PolicyInvalid."""
    policy = compile_policy(source, engine=engine, now_us=now_us)
    failed = tuple(result.finding() for result in run_tests(policy) if not result.passed)
    if failed:
        raise PolicyInvalid(failed)
    return policy


def compile_policy(source: PolicySource, *, engine: str = COMPILED, now_us: int = 0) -> LoadedPolicy:
    """As `load_policy`, but leaves the expectations of tests.yaml to the caller."""
    content = read_source(source)
    findings: list[Finding] = []
    expectations: list[Expectation] = []
    model = read_model_conf(content.model.path, content.model.content)
    for file in content.expectations:
        of_file, wrong = read_expectations(file.path, file.content)
        expectations += of_file
        findings += wrong
    try:
        rows = read_rows(content.rows, model.text)
    except PolicyInvalid as invalid:
        raise PolicyInvalid(tuple(sorted([*invalid.findings, *findings]))) from None
    if findings:
        raise PolicyInvalid(tuple(findings))
    if not model.is_ours:
        check_foreign_size(content.model.path, rows)
    uses_casbin = engine == CASBIN or not model.is_ours
    decider, unlike = _decider(content.model.path, rows, model.text, tuple(expectations), uses_casbin=uses_casbin)
    findings += unlike
    observer: Decider | None = None
    if rows.observed:
        observer, unlike = _decider(content.model.path, rows.observing(), model.text, (), uses_casbin=uses_casbin)
        findings += unlike
    if findings:
        raise PolicyInvalid(tuple(findings))
    used = CASBIN if uses_casbin else COMPILED
    return LoadedPolicy(rows, model.text, decider, tuple(expectations), used, now_us, observer)


def _decider(
    model_path: str, rows: Rows, model_text: str, expectations: tuple[Expectation, ...], *, uses_casbin: bool
) -> tuple[Decider, list[Finding]]:
    """What answers for these rows, and where it is not to be trusted."""
    if uses_casbin:
        authority = CasbinAuthority(rows, model_text)
        return authority, list(probe(model_path, authority, rows))
    # What stays is built before what goes, so that its memory can be given back.
    snapshot = Snapshot(rows)
    authority = CasbinAuthority(rows, model_text)
    differing = [disagreement(snapshot, authority, each.question) for each in expectations]
    return snapshot, [*disagreements(snapshot, authority, rows), *(finding for finding in differing if finding)]


def run_tests(policy: LoadedPolicy) -> tuple[ExpectationResult, ...]:
    """What tests.yaml expects against what the policy says; Casbin was asked the same when it was compiled."""
    return tuple(run(policy.expectations, policy.decider.decide))


def explain(policy: LoadedPolicy, asked: Question) -> Explanation:
    """For people: slow, complete, with Casbin's own answer. Raises what the policy raises."""
    decision = policy.decider.decide(asked.subjects, asked.model, asked.tool, asked.action, asked.context)
    return explained(policy.rows, policy.authority(), decision, asked)


def check(source: PolicySource, *, engine: str = COMPILED) -> tuple[Finding, ...]:
    """Everything that would refuse this policy at a load; empty if it is sound."""
    try:
        load_policy(source, engine=engine)
    except PolicyInvalid as invalid:
        return invalid.findings
    return ()


class PolicyEngine:
    """What the gateway asks. Decisions take the version that is in force when they begin."""

    def __init__(self, source: PolicySource, policy: LoadedPolicy, engine: str, now_us: Callable[[], int]) -> None:
        self._source = source
        self._policy = policy
        self._engine = engine
        self._now_us = now_us
        self._reloading = asyncio.Lock()

    @classmethod
    async def load(cls, source: PolicySource, *, engine: str = COMPILED, now_us: Callable[[], int]) -> "PolicyEngine":
        """Raises PolicyInvalid: without a sound policy nothing starts."""
        policy = await asyncio.to_thread(load_policy, source, engine=engine, now_us=now_us())
        return cls(source, policy, engine, now_us)

    @property
    def version(self) -> str:
        return self._policy.rows.version

    @property
    def loaded_at_us(self) -> int:
        return self._policy.loaded_at_us

    @property
    def policy(self) -> LoadedPolicy:
        return self._policy

    def fingerprint(self) -> tuple[FileState, ...]:
        return fingerprint(self._source)

    async def reload(self) -> tuple[Finding, ...]:
        """Empty if the policy on disk is now in force; else what is wrong with it, and the last good one stays."""
        async with self._reloading:
            try:
                policy = await asyncio.to_thread(load_policy, self._source, engine=self._engine, now_us=self._now_us())
            except PolicyInvalid as invalid:
                return invalid.findings
            except Exception as error:  # noqa: BLE001 - whatever Casbin or the file system throws, the good policy stays
                message = f"the policy could not be loaded: {type(error).__name__}"
                return (Finding(self._source.model, 0, 0, message, "put it right; the last good policy is in force"),)
            self._policy = policy
            return ()

    def roles_of(self, subjects: frozenset[str]) -> frozenset[str]:
        """The subjects of a call with all their roles and teams, `role:everyone` included."""
        return self._policy.decider.roles_of(subjects)

    def decide(self, subjects: frozenset[str], model: str, tool: str, action: str, context: PolicyContext) -> Decision:
        """`-` stands for no model or no tool. `tool` is a canonical name (gateway.core.tool_name)."""
        policy = self._policy
        try:
            return policy.decider.decide(subjects, model, tool, action, context)
        except Exception:  # noqa: BLE001 - an open door is worse than a lost trace; `explain` shows what failed
            return denied_by_failure(policy.rows.version)

    def decide_call(
        self, subjects: frozenset[str], model: str, tools: tuple[str, ...], context: PolicyContext
    ) -> CallDecision:
        """A model call with the tools that it declares, by canonical names: every pair must be allowed."""
        policy = self._policy
        try:
            judged = policy.decider.decide_call(subjects, model, tools, context)
        except Exception:  # noqa: BLE001 - as above
            return CallDecision.of(tools[:1] or (NONE,), [denied_by_failure(policy.rows.version)])
        if policy.observer is None or not judged.allowed:
            return judged
        rules = observed_call(policy.observer, subjects, model, tools, context)
        return replace(judged, would_deny=rules) if rules else judged

    def standing_decision(
        self, subjects: frozenset[str], model: str, tools: tuple[str, ...], principal: Mapping[str, AttributeValue]
    ) -> CallDecision | None:
        """What `decide_call` says of every such call of this principal as long as the policy has this version; None
        where it takes more than the principal to tell, where rows observe, or where judging fails."""
        policy = self._policy
        try:
            return (
                None
                if policy.observer is not None
                else policy.decider.standing_decision(subjects, model, tools, principal)
            )
        except Exception:  # noqa: BLE001 - `decide_call` fails in the same way, and denies
            return None

    def decide_tool_call(
        self, subjects: frozenset[str], models: tuple[str, ...], tool: str, context: PolicyContext
    ) -> Decision:
        """A tool call with the model whose reply asked for it, else with every model of the session: any denial wins.

        Without models it is judged with `-`: only rows for `*` allow it, and every deny row on the tool matches.
        """
        observer = self._policy.observer
        decision = self._each_model(subjects, models, tool, TOOL_CALL, context)
        if observer is None or not decision.allowed:
            return decision
        rules = observed_tool_call(observer, subjects, models or (NONE,), tool, context)
        return replace(decision, would_deny=rules) if rules else decision

    def lists_tool(
        self, subjects: frozenset[str], models: tuple[str, ...], tool: str, context: PolicyContext
    ) -> Decision:
        """Whether a tool is shown. Arguments are not known yet and count as those that let the call pass."""
        return self._each_model(subjects, models, tool, TOOL_LIST, context)

    def _each_model(
        self, subjects: frozenset[str], models: tuple[str, ...], tool: str, action: str, context: PolicyContext
    ) -> Decision:
        decision = self.decide(subjects, models[0] if models else NONE, tool, action, context)
        for model in models[1:]:
            if not decision.allowed:
                break
            decision = self.decide(subjects, model, tool, action, context)
        return decision

    def explain(
        self, subjects: frozenset[str], model: str, tool: str, action: str, context: PolicyContext
    ) -> Explanation:
        """For people: slow, complete, with Casbin's own answer."""
        decision = self.decide(subjects, model, tool, action, context)
        asked = Question(subjects, model, tool, action, context)
        return explained(self._policy.rows, self._policy.authority(), decision, asked)
