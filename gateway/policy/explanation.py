"""Why a decision fell as it did: every row that matched, every row that missed by one field, and Casbin's own word."""

from dataclasses import dataclass

from gateway.core.condition import Outcome
from gateway.core.decision import Decision
from gateway.policy.authority import CasbinAuthority
from gateway.policy.closure import NameKeys
from gateway.policy.question import Question
from gateway.policy.rows import (
    NONE,
    PORTAL_ANYTHING,
    PORTAL_PREFIX,
    TOOL_CALL,
    TOOL_LIST,
    Effect,
    LinkType,
    Place,
    Rows,
    Rule,
)

NEAR_MISSES_MAX = 20


@dataclass(frozen=True, slots=True)
class MatchedRow:
    """`outcome` is None for a row without a condition; `unknown` names what the condition wanted and did not get."""

    rule: Rule
    outcome: Outcome | None
    unknown: tuple[str, ...]
    counts: bool


@dataclass(frozen=True, slots=True)
class NearMiss:
    """A row that would match but for `field`, which it wants to be `wanted`."""

    rule: Rule
    field: str
    wanted: str


@dataclass(frozen=True, slots=True)
class Explanation:
    question: Question
    acts_as: tuple[str, ...]
    decision: Decision
    matched: tuple[MatchedRow, ...]
    near_misses: tuple[NearMiss, ...]
    near_misses_left_out: int
    casbin_allows: bool | None
    casbin_rule: Place | None
    observed: tuple[MatchedRow, ...] = ()

    def lines(self) -> tuple[str, ...]:
        """Plain text, one thought a line."""
        asked = self.question
        lines = [
            f"{'ALLOW' if self.decision.allowed else 'DENY'}  {asked.action}  model {asked.model}  tool {asked.tool}",
            f"  {self.decision.reason}",
            f"  acts as: {', '.join(self.acts_as)}",
            "rows that match:" if self.matched else "rows that match: none",
            *(f"  {_row(each.rule)}  {_condition(each)}" for each in self.matched),
        ]
        if self.observed:
            lines.append("rows that only observe:")
            lines += [f"  {_row(each.rule)}  {_condition(each)}{_would_deny(each)}" for each in self.observed]
        if self.near_misses:
            lines.append("rows that miss by one field:")
            lines += [f"  {_row(each.rule)}  needs {each.field} {each.wanted}" for each in self.near_misses]
        if self.near_misses_left_out:
            lines.append(f"  and {self.near_misses_left_out} more")
        place = f" by {self.casbin_rule}" if self.casbin_rule else ""
        word = {True: f"allow{place}", False: f"deny{place}", None: "an error, which denies"}[self.casbin_allows]
        return (*lines, f"Casbin says: {word}", f"policy version {self.decision.policy_version}")


def explained(rows: Rows, authority: CasbinAuthority, decision: Decision, asked: Question) -> Explanation:
    acts_as = authority.roles_of(asked.subjects) if asked.subjects else frozenset[str]()
    every = (*rows.rules, *rows.observed)
    models = NameKeys((rule.model for rule in every), rows.links_of(LinkType.MODEL_GROUP)).of(asked.model)
    tools = NameKeys((rule.tool for rule in every), rows.links_of(LinkType.TOOL_GROUP)).of(asked.tool)
    matched: list[MatchedRow] = []
    near: list[NearMiss] = []

    def missed(rule: Rule) -> list[tuple[str, str]]:
        return [
            (field, wanted)
            for field, wanted, hit in (
                ("subject", rule.subject, rule.subject in acts_as),
                ("model", rule.model, rule.model in models or _is_deny_of_unknown_model(rule, asked)),
                ("tool", rule.tool, rule.tool in tools),
                ("action", rule.action, _action_matches(rule.action, asked.action)),
            )
            if not hit
        ]

    for rule in rows.rules:
        misses = missed(rule)
        if not misses:
            matched.append(_matched(rule, asked))
        elif len(misses) == 1:
            near.append(NearMiss(rule, *misses[0]))
    try:
        casbin_allows, row = authority.enforce(asked.subjects, asked.model, asked.tool, asked.action, asked.context)
    except Exception:  # noqa: BLE001 - shown to the person who asks
        casbin_allows, row = None, None
    return Explanation(
        asked,
        tuple(sorted(acts_as)),
        decision,
        tuple(matched),
        tuple(near[:NEAR_MISSES_MAX]),
        max(0, len(near) - NEAR_MISSES_MAX),
        casbin_allows,
        row.place if row else None,
        tuple(_matched(rule, asked) for rule in rows.observed if not missed(rule)),
    )


def _is_deny_of_unknown_model(rule: Rule, asked: Question) -> bool:
    return asked.model == NONE and asked.action in (TOOL_CALL, TOOL_LIST) and rule.effect is Effect.DENY


def _action_matches(pattern: str, action: str) -> bool:
    return pattern == action or (pattern == PORTAL_ANYTHING and action.startswith(PORTAL_PREFIX))


def _matched(rule: Rule, asked: Question) -> MatchedRow:
    if rule.condition is None:
        return MatchedRow(rule, None, (), counts=True)
    context = asked.context.of_pair(asked.model, asked.tool)
    listing = asked.action == TOOL_LIST
    holds = rule.condition.holds_for_allow if rule.effect is Effect.ALLOW else rule.condition.holds_for_deny
    outcome = rule.condition.outcome(context)
    return MatchedRow(rule, outcome, rule.condition.unknown_attributes(context), counts=holds(context, listing))


def _row(rule: Rule) -> str:
    return f"{rule.place}  {rule.effect.value:5}  {rule.subject}, {rule.model}, {rule.tool}, {rule.action}"


def _would_deny(row: MatchedRow) -> str:
    return ", would deny" if row.counts else ""


def _condition(row: MatchedRow) -> str:
    if row.outcome is None:
        return "(no condition)"
    counts = "counts" if row.counts else "does not count"
    missing = f", unknown: {', '.join(row.unknown)}" if row.unknown else ""
    return f"({row.rule.condition_text}) is {row.outcome.name.lower()}{missing}: {counts}"
