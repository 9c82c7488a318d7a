"""Asks Casbin and the compiled snapshot the same questions. A snapshot that differs anywhere is refused.

The questions are made from the rows themselves, spread evenly over the policy, each once as the row wants it and in
variants that miss it by one field. How many depends on what Casbin takes for one, so that a reload stays quick.
"""

from collections.abc import Iterator

from gateway.core.condition_context import EMPTY_CONTEXT
from gateway.policy.authority import CasbinAuthority
from gateway.policy.findings import Finding
from gateway.policy.question import Question
from gateway.policy.rows import (
    ANYTHING,
    EVERYONE,
    GROUP_PREFIX,
    NONE,
    TOOL_CALL,
    TOOL_LIST,
    LinkType,
    Rows,
)
from gateway.policy.snapshot import Snapshot

# Casbin looks at some 200,000 rows a second.
_ROWS_LOOKED_AT_MAX = 80_000
_QUESTIONS_MIN = 6
_QUESTIONS_MAX = 200
_UNKNOWN_SUBJECT = "user:nobody-known"


def disagreements(snapshot: Snapshot, authority: CasbinAuthority, rows: Rows) -> Iterator[Finding]:
    for question in sample(rows):
        if finding := disagreement(snapshot, authority, question):
            yield finding


def disagreement(snapshot: Snapshot, authority: CasbinAuthority, asked: Question) -> Finding | None:
    said = snapshot.decide(asked.subjects, asked.model, asked.tool, asked.action, asked.context)
    allowed, rule = authority.enforce(asked.subjects, asked.model, asked.tool, asked.action, asked.context)
    if said.allowed == allowed:
        return None
    place = rule.place if rule else None
    words = {True: "allow", False: "deny"}
    message = (
        f"the compiled policy says {words[said.allowed]} and Casbin says {words[allowed]} to {asked.action} on "
        f"{asked.model!r} with {asked.tool!r}"
    )
    path, line = (place.path, place.line) if place else ("policies", 0)
    return Finding(path, line, 1, message, "report this as a fault; until then set policy.engine: casbin")


def sample(rows: Rows) -> Iterator[Question]:
    count = max(_QUESTIONS_MIN, min(_QUESTIONS_MAX, _ROWS_LOOKED_AT_MAX // max(1, len(rows.rules))))
    members = {link_type: _members(rows, link_type) for link_type in LinkType}
    variants = 4
    stride = max(1, len(rows.rules) * variants // count)
    for number in range(0, len(rows.rules) * variants, stride):
        rule = rows.rules[number // variants]
        # A stride that is a multiple of the variants would ask the same one for ever.
        variant = (number // stride + number) % variants
        subject = (
            _UNKNOWN_SUBJECT if rule.subject == EVERYONE else members[LinkType.ROLE].get(rule.subject, rule.subject)
        )
        model = _example(rule.model, members[LinkType.MODEL_GROUP])
        tool = _example(rule.tool, members[LinkType.TOOL_GROUP])
        if variant == 1:
            subject = _UNKNOWN_SUBJECT
        elif variant == 2:
            model = NONE if rule.action in (TOOL_CALL, TOOL_LIST) else model + "-other"
        elif variant == 3:
            tool = NONE if tool != NONE else "other-tool"
        yield Question(frozenset({subject}), model, tool, rule.action, EMPTY_CONTEXT)


def _members(rows: Rows, link_type: LinkType) -> dict[str, str]:
    """One member of each role or group that is none itself, if there is one."""
    links = rows.links_of(link_type)
    groups = {link.group for link in links}
    first: dict[str, str] = {}
    for link in links:
        if link.member not in groups:
            first.setdefault(link.group, link.member)
    for _ in groups:
        before = len(first)
        for link in links:
            if link.member in first:
                first.setdefault(link.group, first[link.member])
        if len(first) == before:
            break
    return first


def _example(pattern: str, members: dict[str, str]) -> str:
    if pattern.startswith(GROUP_PREFIX):
        pattern = members.get(pattern, pattern)
    return pattern[:-1] + "any" if pattern.endswith(ANYTHING) else pattern


def probe(model_path: str, authority: CasbinAuthority, rows: Rows) -> Iterator[Finding]:
    """Where Casbin decides alone: a matcher that raises is found now, not by the first call that it denies."""
    for asked in sample(rows):
        try:
            authority.enforce(asked.subjects, asked.model, asked.tool, asked.action, asked.context)
        except Exception as error:  # noqa: BLE001 - Casbin evaluates a matcher that others wrote
            message = f"the matcher fails on {asked.action}: {type(error).__name__}"
            yield Finding(model_path, 0, 0, message, "let it be true or false for every request")
            return
