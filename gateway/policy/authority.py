"""Casbin itself, loaded with our reader's rows: the authority on what a policy means.

Every decision of the compiled snapshot can be asked for here, too; `policy.engine: casbin` and foreign models run on
it alone. Slow (a fixed 30 us and some 20 us a row), and never entered by two threads at once.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import casbin
from casbin.model import FunctionMap
from casbin.rbac.default_role_manager import RoleManager

from gateway.core.condition import Condition
from gateway.core.condition_context import AttributeValue, PolicyContext
from gateway.core.decision import CallDecision, Decision
from gateway.policy.closure import closure_of, with_roles
from gateway.policy.reasons import allowed_by, denied_by, denied_by_default
from gateway.policy.rows import (
    ANYTHING,
    CHAIN_LINKS_MAX,
    EVERYONE,
    GROUP_PREFIX,
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
    name_matches,
)

_LINK_ANSWERS_MAX = 50_000
# Stands for every model at once where none is known: a deny row then matches whatever its model. No client can send it.
_ANY_MODEL = object()


class _Action(str):
    """An action as it is asked for: `portal:keys` is also what a row calls `portal:*`."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other) is True or (other == PORTAL_ANYTHING and str.startswith(self, PORTAL_PREFIX))

    def __ne__(self, other: object) -> bool:
        return not self == other


@dataclass(frozen=True, slots=True)
class _Judged:
    context: PolicyContext
    listing: bool


class CasbinAuthority:
    """Raises what Casbin raises; the engine turns that into a denial."""

    def __init__(self, rows: Rows, model_text: str) -> None:
        self.version = rows.version
        self._lock = threading.Lock()
        self._rules = {rule.fields: rule for rule in rows.rules}
        self._conditions = {rule.condition_text: rule.condition for rule in rows.rules if rule.condition is not None}
        self._roles = closure_of(rows.links_of(LinkType.ROLE))
        self._enforcer = _enforcer(rows, model_text)
        self._link_answers: dict[tuple[str, str], bool] = {}
        functions = FunctionMap()
        for name, function in (
            ("any_subject", self._any_subject),
            ("in_model", self._in_group_of(rows, LinkType.MODEL_GROUP)),
            ("in_tool", self._in_group_of(rows, LinkType.TOOL_GROUP)),
            ("holds", self._holds),
        ):
            functions.add_function(name, function)
        self._enforcer.fm = functions

    def roles_of(self, subjects: frozenset[str]) -> frozenset[str]:
        return with_roles(subjects, self._roles)

    def enforce(
        self, subjects: frozenset[str], model: str, tool: str, action: str, context: PolicyContext
    ) -> tuple[bool, Rule | None]:
        """Casbin's own answer and the row that it names, if any."""
        if not subjects:
            return False, None
        context = context.of_pair(model, tool)
        with self._lock:
            answer = self._ask(subjects, model, tool, action, context)
            if answer[0] and model == NONE and action in (TOOL_CALL, TOOL_LIST):
                return self._ask(subjects, _ANY_MODEL, tool, action, context)
            return answer

    def _ask(
        self, subjects: frozenset[str], model: object, tool: str, action: str, context: PolicyContext
    ) -> tuple[bool, Rule | None]:
        judged = _Judged(context, listing=action == TOOL_LIST)
        allowed, row = self._enforcer.enforce_ex(subjects | {EVERYONE}, model, tool, _Action(action), judged)
        return allowed is True, self._rules.get(tuple(row))

    def decide(self, subjects: frozenset[str], model: str, tool: str, action: str, context: PolicyContext) -> Decision:
        allowed, rule = self.enforce(subjects, model, tool, action, context)
        if allowed and rule is not None:
            return allowed_by(rule.place, self.version)
        if rule is not None and rule.effect is Effect.DENY:
            return denied_by(rule.place, self.version, model, tool, action)
        return denied_by_default(self.version, model, tool, action)

    def decide_call(
        self, subjects: frozenset[str], model: str, tools: tuple[str, ...], context: PolicyContext
    ) -> CallDecision:
        pairs = tools or (NONE,)
        decisions = [self.decide(subjects, model, tool, MODEL_INVOKE, context) for tool in pairs]
        return CallDecision.of(pairs, decisions)

    def standing_decision(
        self, subjects: frozenset[str], model: str, tools: tuple[str, ...], principal: Mapping[str, AttributeValue]
    ) -> CallDecision | None:
        """None: what a foreign matcher looks at is not known here."""
        return None

    def _any_subject(self, subjects: frozenset[str], subject: str) -> bool:
        return any(each == subject or self._has_link(each, subject) for each in subjects)

    def _has_link(self, member: str, role: str) -> bool:
        answer = self._link_answers.get((member, role))
        if answer is None:
            if len(self._link_answers) >= _LINK_ANSWERS_MAX:
                self._link_answers.clear()
            answer = _linked(self._enforcer.rm_map[LinkType.ROLE.value], member, role)
            self._link_answers[member, role] = answer
        return answer

    def _in_group_of(self, rows: Rows, link_type: LinkType) -> Callable[[object, str], bool]:
        manager = self._enforcer.rm_map[link_type.value]
        members = [link.member for link in rows.links_of(link_type) if link.member.endswith(ANYTHING)]

        def matches(name: object, pattern: str) -> bool:
            if name is _ANY_MODEL:
                return True
            if not isinstance(name, str):
                return False
            if not pattern.startswith(GROUP_PREFIX):
                return name_matches(name, pattern)
            if name == NONE or name.startswith(GROUP_PREFIX):
                return any(name_matches(name, member) and _linked(manager, member, pattern) for member in members)
            return _linked(manager, name, pattern) or any(
                name_matches(name, member) and _linked(manager, member, pattern) for member in members
            )

        return matches

    def _holds(self, text: str, effect: str, judged: _Judged) -> bool:
        if not text:
            return True
        condition: Condition = self._conditions[text]
        if effect == Effect.ALLOW.value:
            return condition.holds_for_allow(judged.context, listing=judged.listing)
        return condition.holds_for_deny(judged.context, listing=judged.listing)


def _linked(manager: RoleManager, member: str, group: str) -> bool:
    # Asked about a name that it does not know, the role manager would remember it for ever.
    known = manager.all_roles
    return member in known and group in known and bool(manager.has_link(member, group))


def _enforcer(rows: Rows, model_text: str) -> casbin.Enforcer:
    # Casbin logs every denial with the whole request at WARNING; what is worth a log line is logged by the gateway.
    for name in ("casbin", "casbin.enforcer", "casbin.policy", "casbin.role"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    enforcer = casbin.Enforcer(casbin.Enforcer.new_model(text=model_text))
    # Its levels count the principal, too: one more than links.
    for link_type in LinkType:
        enforcer.set_named_role_manager(link_type.value, RoleManager(CHAIN_LINKS_MAX + 1))
    # add_policies compares every new row with every old one; the reader has refused doubles, so rows go in directly.
    _fill(enforcer, "p", "p", [list(rule.fields) for rule in rows.rules])
    for link_type in LinkType:
        _fill(enforcer, "g", link_type.value, [[link.member, link.group] for link in rows.links_of(link_type)])
    enforcer.build_role_links()
    return enforcer


def _fill(enforcer: casbin.Enforcer, section: str, row_type: str, fields: list[list[str]]) -> None:
    assertion = enforcer.get_model()[section][row_type]
    assertion.policy = fields
    assertion.policy_map = {",".join(row): index for index, row in enumerate(fields)}
