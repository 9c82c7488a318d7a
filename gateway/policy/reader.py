"""Reads policy files into rows, or refuses them with everything that is wrong.

Rule: what this reader accepts, Casbin reads with the same meaning. Each way in which a Casbin file silently loses a
rule is an error here, with file, line, column and fix.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.core.condition import Condition
from gateway.policy.csv_text import Field, FieldInvalid, fields_of
from gateway.policy.file_text import FileText, Line, text_of
from gateway.policy.findings import Finding, PolicyInvalid
from gateway.policy.link_checks import link_findings
from gateway.policy.row_fields import (
    FieldWrong,
    check_action,
    check_condition_fits,
    check_group,
    check_group_member,
    check_link_member,
    check_model_fits,
    check_pattern,
    check_role_or_team,
    check_subject,
    check_tool_fits,
    condition_of,
    effect_of,
)
from gateway.policy.rows import MODEL_INVOKE, TOOL_CALL, Effect, Link, LinkType, Place, Rows, Rule

OBSERVE_SUFFIX = ".observe.csv"
"""What the name of a file ends in whose deny rows are judged and recorded, but deny nothing."""

_SHAPES: Mapping[str, tuple[str, ...]] = {
    "p": ("p", "subject", "model", "tool", "action", "condition", "effect"),
    "g": ("g", "principal", "role or team"),
    "g2": ("g2", "model", "group"),
    "g3": ("g3", "tool", "group"),
}


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """`path` is how findings and decisions name the file."""

    path: str
    content: bytes


def read_rows(files: tuple[PolicyFile, ...], model_text: str = "") -> Rows:
    """Raises PolicyInvalid. The version names the content of the files and of the model."""
    reader = _Reader()
    for file in files:
        reader.read(text_of(file.path, file.content))
    findings = reader.findings or list(link_findings((*reader.rules, *reader.observed), tuple(reader.links)))
    if not findings and not reader.rules:
        findings.append(Finding(files[0].path if files else "policies", 0, 0, "no p row at all", "write one"))
    if findings:
        raise PolicyInvalid(tuple(sorted(set(findings))))
    return Rows(tuple(reader.rules), tuple(reader.links), _version(files, model_text), tuple(reader.observed))


def _version(files: tuple[PolicyFile, ...], model_text: str) -> str:
    digest = hashlib.sha256(model_text.encode())
    for file in files:
        digest.update(b"\x00" + file.path.encode() + b"\x00" + hashlib.sha256(file.content).digest())
    return digest.hexdigest()[:16]


class _Reader:
    def __init__(self) -> None:
        self.rules: list[Rule] = []
        self.observed: list[Rule] = []
        self.links: list[Link] = []
        self.findings: list[Finding] = []
        self._passed: dict[tuple[Callable[[str], object], str], object] = {}
        self._seen: dict[tuple[str, ...], Place] = {}

    def read(self, file: FileText) -> None:
        self.findings.extend(file.findings)
        for line in file.rows:
            try:
                fields = fields_of(line.text)
            except FieldInvalid as invalid:
                self._find(Place(file.path, line.number), invalid.column, invalid.message, invalid.fix)
                continue
            self._read_row(Place(file.path, line.number), line, fields)

    def _find(self, place: Place, column: int, message: str, fix: str) -> None:
        self.findings.append(Finding(place.path, place.line, column, message, fix))

    def _read_row(self, place: Place, line: Line, fields: tuple[Field, ...]) -> None:
        row_type = fields[0].text
        shape = _SHAPES.get(row_type)
        if shape is None:
            self._find(place, fields[0].column, f"unknown row type {row_type!r}", _row_type_fix(row_type))
        elif len(fields) != len(shape):
            column = fields[len(shape)].column if len(fields) > len(shape) else len(line.text) + 1
            message = f"{row_type} takes {len(shape)} fields, not {len(fields)}"
            self._find(place, column, message, _count_fix(shape, fields))
        elif row_type == "p":
            self._read_rule(place, fields)
        else:
            self._read_link(place, LinkType(row_type), fields)

    def _read_rule(self, place: Place, fields: tuple[Field, ...]) -> None:
        _, subject, model, tool, action, condition_field, effect_field = fields
        found_before = len(self.findings)
        self._check(place, subject, check_subject)
        self._check(place, model, _check_model)
        self._check(place, tool, _check_tool)
        self._check(place, action, check_action)
        condition = self._check(place, condition_field, condition_of)
        effect = self._check(place, effect_field, effect_of)
        if len(self.findings) > found_before:
            return
        assert isinstance(effect, Effect)
        assert condition is None or isinstance(condition, Condition)
        self._check_fit(place, model, lambda: check_model_fits(model.text, action.text, effect))
        self._check_fit(place, tool, lambda: check_tool_fits(tool.text, action.text))
        self._check_fit(place, condition_field, lambda: check_condition_fits(condition, action.text, effect))
        rule = Rule(subject.text, model.text, tool.text, action.text, condition_field.text, effect, place, condition)
        if not self._is_new(place, fields):
            return
        if not place.path.endswith(OBSERVE_SUFFIX):
            self.rules.append(rule)
        elif effect is not Effect.DENY:
            self._find(place, effect_field.column, "an allow row observes nothing", "move it to another file")
        elif action.text not in (MODEL_INVOKE, TOOL_CALL):
            fix = f"only {MODEL_INVOKE} and {TOOL_CALL} are observed; move it to another file"
            self._find(place, action.column, "this action is not observed", fix)
        else:
            self.observed.append(rule)

    def _read_link(self, place: Place, link_type: LinkType, fields: tuple[Field, ...]) -> None:
        if place.path.endswith(OBSERVE_SUFFIX):
            message = f"a {link_type.value} row holds for all files and cannot only observe"
            self._find(place, fields[0].column, message, "move it to another file")
            return
        _, member, group = fields
        found_before = len(self.findings)
        if link_type is LinkType.ROLE:
            self._check(place, member, check_link_member)
            self._check(place, group, check_role_or_team)
        else:
            self._check(place, member, _check_model_member if link_type is LinkType.MODEL_GROUP else _check_tool_member)
            self._check(place, group, check_group)
        if len(self.findings) == found_before and self._is_new(place, fields):
            self.links.append(Link(link_type, member.text, group.text, place))

    def _is_new(self, place: Place, fields: tuple[Field, ...]) -> bool:
        texts = tuple(field.text for field in fields)
        first = self._seen.setdefault(texts, place)
        if first is not place:
            self._find(place, fields[0].column, f"the same row stands at {first}", "remove one of them")
        return first is place

    def _check(self, place: Place, field: Field, check: Callable[[str], object]) -> object:
        """Texts repeat from row to row, so what has passed a check is not checked again."""
        key = (check, field.text)
        if key in self._passed:
            return self._passed[key]
        try:
            result = self._passed[key] = check(field.text)
        except FieldWrong as wrong:
            self._find_in(place, field, wrong)
            return None
        return result

    def _check_fit(self, place: Place, field: Field, check: Callable[[], None]) -> None:
        try:
            check()
        except FieldWrong as wrong:
            self._find_in(place, field, wrong)

    def _find_in(self, place: Place, field: Field, wrong: FieldWrong) -> None:
        column = field.columns[min(wrong.offset, len(field.columns) - 1)]
        self._find(place, column, wrong.message, wrong.fix)


def _check_model(text: str) -> None:
    check_pattern(text, "a model")


def _check_tool(text: str) -> None:
    check_pattern(text, "a tool")


def _check_model_member(text: str) -> None:
    check_group_member(text, "model")


def _check_tool_member(text: str) -> None:
    check_group_member(text, "tool")


def _row_type_fix(row_type: str) -> str:
    if ";" in row_type:
        return "separate the fields with commas"
    if row_type.lower() in _SHAPES:
        return f"write {row_type.lower()}"
    return "a row begins with p, g, g2 or g3; a comment with #"


def _count_fix(shape: tuple[str, ...], fields: tuple[Field, ...]) -> str:
    expected = ", ".join(shape)
    if len(fields) > len(shape):
        return f"write {expected}; quote a condition that holds a comma, and put comments on lines of their own"
    if len(fields) == len(shape) - 1 and shape[0] == "p":
        return f"write {expected}; an empty condition keeps its comma"
    return f"write {expected}"
