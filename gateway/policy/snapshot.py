"""A policy compiled for speed: immutable after construction, safe to share between threads.

Rows are found by action, subject, model and tool, so that a decision costs what its own rows cost, not what the policy
holds. Rule: the meaning is Casbin's; every load and a property test compare the two.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Generic, TypeVar

from gateway.core.condition import Condition
from gateway.core.condition_context import AttributeValue, PolicyContext
from gateway.core.decision import CallDecision, Decision
from gateway.policy.closure import NameKeys, closure_of, with_roles
from gateway.policy.reasons import allowed_by, denied_by, denied_by_default
from gateway.policy.rows import (
    EVERYONE,
    MODEL_INVOKE,
    NONE,
    PORTAL_ANYTHING,
    PORTAL_PREFIX,
    TOOL_CALL,
    TOOL_LIST,
    Effect,
    LinkType,
    Rows,
    Rule,
)

# Clients choose models and tools, so what is remembered is bounded in number and in length.
_MATCHES_KEPT_MAX = 8_192
_CALLS_KEPT_MAX = 512
_NAME_KEPT_CHARACTERS_MAX = 512
_TOOLS_KEPT_MAX = 512
_Value = TypeVar("_Value")


class _Memo(Generic[_Value]):
    """Forgets everything when full: no bookkeeping on the hot path, and no growth."""

    def __init__(self, entries_max: int) -> None:
        self._entries_max = entries_max
        self._values: dict[object, _Value] = {}

    def get(self, key: object) -> _Value | None:
        return self._values.get(key)

    def keep(self, key: object, value: _Value) -> _Value:
        if len(self._values) >= self._entries_max:
            self._values.clear()
        self._values[key] = value
        return value


@dataclass(slots=True, eq=False)
class _Compiled:
    """A rule with its place in the order of the policy. `allowed` is made when it is first given; most never are."""

    order: int
    rule: Rule
    condition: Condition | None
    is_deny: bool
    allowed: Decision | None = None


@dataclass(slots=True)
class _Matches:
    """The rows that match a request but for their conditions. `final` where no condition can change the decision."""

    denies: list[_Compiled]
    allows: list[_Compiled]
    final: Decision | None


_ORDER = attrgetter("order")
# (action, subject) -> tool -> model -> rows
_Index = dict[tuple[str, str], dict[str, dict[str, list[_Compiled]]]]


class Snapshot:
    def __init__(self, rows: Rows) -> None:
        self.version = rows.version
        self._models = NameKeys((rule.model for rule in rows.rules), rows.links_of(LinkType.MODEL_GROUP))
        self._tools = NameKeys((rule.tool for rule in rows.rules), rows.links_of(LinkType.TOOL_GROUP))
        self._roles = closure_of(rows.links_of(LinkType.ROLE))
        self._rules: _Index = {}
        # Deny rows on tools by (action, subject), then tool: where no model is known they match whatever their model.
        self._tool_denies: dict[tuple[str, str], dict[str, list[_Compiled]]] = {}
        for order, rule in enumerate(rows.rules):
            self._add(_Compiled(order, rule, rule.condition, rule.effect is Effect.DENY))
        # Of every subject that rows know: the subjects of rows that it acts as.
        in_rules = frozenset(rule.subject for rule in rows.rules)
        known = {subject: frozenset({subject}) for subject in (*in_rules, EVERYONE)} | self._roles
        self._relevant_of = {subject: tuple(acts_as & in_rules) for subject, acts_as in known.items()}
        self._reads_pair = any(rule.condition.reads_pair for rule in rows.rules if rule.condition is not None)
        self._relevant: _Memo[tuple[str, ...]] = _Memo(_MATCHES_KEPT_MAX)
        self._matches: _Memo[_Matches] = _Memo(_MATCHES_KEPT_MAX)
        self._calls: _Memo[CallDecision] = _Memo(_CALLS_KEPT_MAX)

    def _add(self, compiled: _Compiled) -> None:
        rule = compiled.rule
        by_tool = self._rules.setdefault((rule.action, rule.subject), {})
        by_tool.setdefault(rule.tool, {}).setdefault(rule.model, []).append(compiled)
        if compiled.is_deny and rule.action in (TOOL_CALL, TOOL_LIST):
            denies = self._tool_denies.setdefault((rule.action, rule.subject), {})
            denies.setdefault(rule.tool, []).append(compiled)

    def roles_of(self, subjects: frozenset[str]) -> frozenset[str]:
        """The subjects with all their roles and teams."""
        return with_roles(subjects, self._roles)

    def decide(self, subjects: frozenset[str], model: str, tool: str, action: str, context: PolicyContext) -> Decision:
        key = (subjects, model, tool, action)
        matches = self._matches.get(key)
        if matches is None:
            matches = self._matching(subjects, model, tool, action)
            if len(model) + len(tool) <= _NAME_KEPT_CHARACTERS_MAX:
                self._matches.keep(key, matches)
        if matches.final is not None:
            return matches.final
        if self._reads_pair:
            context = context.of_pair(model, tool)
        listing = action == TOOL_LIST
        for deny in matches.denies:
            condition = deny.condition
            if condition is None or condition.holds_for_deny(context, listing):
                return denied_by(deny.rule.place, self.version, model, tool, action)
        for allow in matches.allows:
            condition = allow.condition
            if condition is None or condition.holds_for_allow(context, listing):
                return self._allowed(allow)
        return denied_by_default(self.version, model, tool, action)

    def decide_call(
        self, subjects: frozenset[str], model: str, tools: tuple[str, ...], context: PolicyContext
    ) -> CallDecision:
        """A model call with the canonical names of the tools that it declares; all pairs must be allowed."""
        key = (subjects, model, tools)
        kept = self._calls.get(key)
        if kept is not None:
            return kept
        pairs = tools or (NONE,)
        decisions = [self.decide(subjects, model, tool, MODEL_INVOKE, context) for tool in pairs]
        call = CallDecision.of(pairs, decisions)
        if len(pairs) <= _TOOLS_KEPT_MAX and all(self._is_final(subjects, model, tool) for tool in pairs):
            self._calls.keep(key, call)
        return call

    def standing_decision(
        self, subjects: frozenset[str], model: str, tools: tuple[str, ...], principal: Mapping[str, AttributeValue]
    ) -> CallDecision | None:
        """What `decide_call` says whenever this principal asks; None where a condition looks at more than that."""
        context = PolicyContext(principal)
        call = self.decide_call(subjects, model, tools, context)
        return call if all(self._stands(subjects, model, tool) for tool in tools or (NONE,)) else None

    def _stands(self, subjects: frozenset[str], model: str, tool: str) -> bool:
        matches = self._matches.get((subjects, model, tool, MODEL_INVOKE))
        return matches is not None and all(
            each.condition is None or each.condition.standing for each in (*matches.denies, *matches.allows)
        )

    def _is_final(self, subjects: frozenset[str], model: str, tool: str) -> bool:
        matches = self._matches.get((subjects, model, tool, MODEL_INVOKE))
        return matches is not None and matches.final is not None

    def _matching(self, subjects: frozenset[str], model: str, tool: str, action: str) -> _Matches:
        model_keys = self._models.of(model)
        tool_keys = self._tools.of(tool)
        found: list[_Compiled] = []
        for each in _actions(action):
            for subject in self._relevant_subjects(subjects):
                by_tool = self._rules.get((each, subject))
                if by_tool is None:
                    continue
                # Tools first: rows name more of them than models, so most of the search ends here.
                for tool_key in tool_keys:
                    if tool_key in by_tool:
                        by_model = by_tool[tool_key]
                        for model_key in model_keys:
                            if model_key in by_model:
                                found += by_model[model_key]
        if model == NONE:
            found += self._denies_of_any_model(subjects, tool_keys, action)
        if len(found) > 1:
            found.sort(key=_ORDER)
        return self._sorted_out(found, model, tool, action)

    def _denies_of_any_model(
        self, subjects: frozenset[str], tool_keys: tuple[str, ...], action: str
    ) -> list[_Compiled]:
        of_subjects = (self._tool_denies.get((action, subject), {}) for subject in self._relevant_subjects(subjects))
        return [deny for by_tool in of_subjects for key in tool_keys for deny in by_tool.get(key, ())]

    def _sorted_out(self, found: list[_Compiled], model: str, tool: str, action: str) -> _Matches:
        denies = [each for each in found if each.is_deny]
        allows = [each for each in found if not each.is_deny] if denies else found
        if [each for each in found if each.condition is not None]:
            return _Matches(denies, allows, None)
        if denies:
            return _Matches(denies, allows, denied_by(denies[0].rule.place, self.version, model, tool, action))
        if allows:
            return _Matches(denies, allows, self._allowed(allows[0]))
        return _Matches(denies, allows, denied_by_default(self.version, model, tool, action))

    def _allowed(self, row: _Compiled) -> Decision:
        if row.allowed is None:
            row.allowed = allowed_by(row.rule.place, self.version)
        return row.allowed

    def _relevant_subjects(self, subjects: frozenset[str]) -> tuple[str, ...]:
        kept = self._relevant.get(subjects)
        if kept is not None:
            return kept
        if not subjects:
            return ()
        relevant = set(self._relevant_of[EVERYONE])
        for subject in subjects:
            relevant.update(self._relevant_of.get(subject, ()))
        return self._relevant.keep(subjects, tuple(relevant))


def _actions(action: str) -> tuple[str, ...]:
    """What rows may call the action that is asked for."""
    if action.startswith(PORTAL_PREFIX) and action != PORTAL_ANYTHING:
        return action, PORTAL_ANYTHING
    return (action,)
