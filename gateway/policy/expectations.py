"""`tests.yaml`: what the security team expects of its rules. Read as strictly as the rules, run on every load.

- as: {user: alice, team: platform, agent: reviewer}
  model: gpt-5-mini            # `-` where there is none; the same for the tool
  tool: github__search
  action: tool:call            # model:invoke if not given
  context: {agent.environment: production, args: {path: /srv}, limit: {session-tokens: 0.5}, time: 2026-11-24T22:30}
  expect: deny
  because: production agents only read
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import yaml

from gateway.core.condition_context import PolicyContext
from gateway.core.decision import Decision
from gateway.policy.expectation_context import ContextInvalid, context_of
from gateway.policy.findings import Finding
from gateway.policy.question import Question
from gateway.policy.row_fields import SUBJECT_TYPES, FieldWrong, check_action, check_subject
from gateway.policy.rows import MODEL_INVOKE, NONE, Effect, Place

EXPECTATIONS_MAX = 2_000
BYTES_MAX = 2 * 1024 * 1024
_REQUIRED = ("as", "model", "expect", "because")
_KEYS = (*_REQUIRED, "tool", "action", "context")


@dataclass(frozen=True, slots=True)
class Expectation:
    place: Place
    question: Question
    expect: Effect
    because: str


@dataclass(frozen=True, slots=True)
class ExpectationResult:
    expectation: Expectation
    decision: Decision

    @property
    def passed(self) -> bool:
        return self.decision.allowed == (self.expectation.expect is Effect.ALLOW)

    def finding(self) -> Finding:
        place, decision = self.expectation.place, self.decision
        said = f"expected {self.expectation.expect.value} because {self.expectation.because}"
        return Finding(place.path, place.line, 1, f"{said}; but {decision.reason}", "change the row or the expectation")


def read_expectations(path: str, content: bytes) -> tuple[tuple[Expectation, ...], tuple[Finding, ...]]:
    reader = _Reader(path)
    reader.read(content)
    return tuple(reader.expectations), tuple(sorted(reader.findings))


class _Reader:
    def __init__(self, path: str) -> None:
        self._path = path
        self.expectations: list[Expectation] = []
        self.findings: list[Finding] = []

    def _find(self, node: yaml.Node | None, message: str, fix: str) -> None:
        line, column = (node.start_mark.line + 1, node.start_mark.column + 1) if node else (0, 0)
        self.findings.append(Finding(self._path, line, column, message, fix))

    def read(self, content: bytes) -> None:
        if len(content) > BYTES_MAX:
            return self._find(None, f"the file is larger than {BYTES_MAX} bytes", "split it")
        try:
            text = content.decode()
            if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
                return self._find(None, "aliases (*name) are not read", "write the values out")
            root = yaml.compose(text, Loader=yaml.SafeLoader)
        except UnicodeDecodeError:
            return self._find(None, "this is not UTF-8", "save the file as UTF-8")
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
            self.findings.append(Finding(self._path, line, column, f"no YAML: {error.problem}", "put it right"))
            return None
        except (yaml.YAMLError, RecursionError):
            return self._find(None, "no YAML that can be read", "put it right")
        if not isinstance(root, yaml.SequenceNode) or not root.value:
            return self._find(root, "the file holds no list of expectations", "begin each with `- as: {user: ...}`")
        if len(root.value) > EXPECTATIONS_MAX:
            return self._find(root, f"more than {EXPECTATIONS_MAX} expectations", "keep those that matter")
        for node in root.value:
            self._read_one(node)
        return None

    def _read_one(self, node: yaml.Node) -> None:
        found_before = len(self.findings)
        fields = self._mapping(node, "an expectation", _KEYS)
        for key in _REQUIRED:
            if key not in fields and len(self.findings) == found_before:
                self._find(node, f"{key} is missing", f"add {key}:")
        names = self._names(fields.get("as"))
        model = self._text(fields.get("model"), NONE)
        tool = self._text(fields.get("tool"), NONE)
        action = self._text(fields.get("action"), MODEL_INVOKE)
        self._checked(fields.get("action"), check_action, action)
        because = self._text(fields.get("because"), "")
        expect = self._text(fields.get("expect"), "")
        if "expect" in fields and expect not in tuple(Effect):
            self._find(fields["expect"], f"{expect!r} is no expectation", "write allow or deny")
        subjects = frozenset(f"{kind}:{name}" for kind, of_kind in names.items() for name in of_kind)
        context = self._context(fields.get("context"), names)
        if len(self.findings) == found_before:
            place = Place(self._path, node.start_mark.line + 1)
            self.expectations.append(
                Expectation(place, Question(subjects, model, tool, action, context), Effect(expect), because)
            )

    def _mapping(self, node: yaml.Node, what: str, known: tuple[str, ...]) -> dict[str, yaml.Node]:
        if not isinstance(node, yaml.MappingNode):
            self._find(node, f"{what} is a mapping", "write key: value pairs")
            return {}
        fields: dict[str, yaml.Node] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            if key not in known:
                self._find(key_node, f"{key!r} is not known in {what}", f"one of {', '.join(known)}")
            elif key in fields:
                self._find(key_node, f"{key} is given twice", "remove one")
            else:
                fields[key] = value_node
        return fields

    def _text(self, node: yaml.Node | None, default: str) -> str:
        if node is None:
            return default
        if not isinstance(node, yaml.ScalarNode) or not node.value:
            self._find(node, "a text is missing", "write a value, quoted if it begins with a sign")
            return default
        return str(node.value)

    def _names(self, node: yaml.Node | None) -> dict[str, tuple[str, ...]]:
        if node is None:
            return {}
        names: dict[str, tuple[str, ...]] = {}
        for kind, value in self._mapping(node, "as", SUBJECT_TYPES).items():
            nodes = value.value if isinstance(value, yaml.SequenceNode) else [value]
            names[kind] = tuple(self._text(each, "") for each in nodes)
            for each in names[kind]:
                self._checked(value, check_subject, f"{kind}:{each}")
        return names

    def _context(self, node: yaml.Node | None, names: dict[str, tuple[str, ...]]) -> PolicyContext:
        principal = {f"{kind}.name": of_kind[0] for kind, of_kind in names.items() if kind != "role" and of_kind}
        try:
            return context_of(node, principal)
        except ContextInvalid as invalid:
            self._find(invalid.node, invalid.message, invalid.fix)
            return PolicyContext()

    def _checked(self, node: yaml.Node | None, check: Callable[[str], None], text: str) -> None:
        try:
            check(text)
        except FieldWrong as wrong:
            self._find(node, wrong.message, wrong.fix)


def run(
    expectations: tuple[Expectation, ...],
    decide: Callable[[frozenset[str], str, str, str, PolicyContext], Decision],
) -> Iterator[ExpectationResult]:
    for each in expectations:
        asked = each.question
        yield ExpectationResult(each, decide(asked.subjects, asked.model, asked.tool, asked.action, asked.context))
