"""Reads `model.conf` as strictly as the rows: ours is compiled, another one is Casbin's alone, within bounds.

A foreign model may change the matcher and the effect over the same request, row shape and functions.
"""

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.policy.findings import Finding, PolicyInvalid
from gateway.policy.rows import Rows

FOREIGN_ROWS_MAX = 200
FUNCTIONS = ("any_subject", "in_model", "in_tool", "holds")

_FIXED: Mapping[tuple[str, str], str] = {
    ("request_definition", "r"): "subs, model, tool, act, ctx",
    ("policy_definition", "p"): "sub, model, tool, act, cond, eft",
    ("role_definition", "g"): "_, _",
    ("role_definition", "g2"): "_, _",
    ("role_definition", "g3"): "_, _",
}
_EFFECT = ("policy_effect", "e")
_MATCHER = ("matchers", "m")
_OUR_EFFECT = "some(where (p.eft == allow)) && !some(where (p.eft == deny))"
_OUR_MATCHER = (
    "any_subject(r.subs, p.sub) && in_model(r.model, p.model) && in_tool(r.tool, p.tool)"
    " && r.act == p.act && holds(p.cond, p.eft, r.ctx)"
)
# Casbin knows one more, `!some(where (p.eft == deny))`: it allows what no row mentions, so it is not to be had here.
_EFFECTS = (_OUR_EFFECT, "some(where (p.eft == allow))", "priority(p.eft) || deny")
_MATCHER_NODES = (
    *(ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not),
    *(ast.Compare, ast.Eq, ast.NotEq, ast.In, ast.NotIn),
    *(ast.Call, ast.Attribute, ast.Name, ast.Constant, ast.Tuple, ast.Load),
)
# Casbin rewrites operators and dots inside string literals as well, so a literal holds none.
_SAFE_LITERAL = re.compile(r"[A-Za-z0-9_:/@-]*\*?")
_REQUEST_NAMES = frozenset(f"r.{name}" for name in ("subs", "model", "tool", "act", "ctx"))
_ROW_NAMES = frozenset(f"p.{name}" for name in ("sub", "model", "tool", "act", "cond", "eft"))


@dataclass(frozen=True, slots=True)
class ModelConf:
    """`text` is normalised: what Casbin gets is what was checked here."""

    text: str
    is_ours: bool


def read_model_conf(path: str, content: bytes) -> ModelConf:
    """Raises PolicyInvalid."""
    findings: list[Finding] = []
    entries = _entries(path, content, findings)
    for key, expected in _FIXED.items():
        line, value = entries.get(key, (0, ""))
        if _squeezed(value) != _squeezed(expected):
            findings.append(Finding(path, line, 1, f"[{key[0]}] {key[1]} must stay as it is", f"{key[1]} = {expected}"))
    unknown = entries.keys() - {*_FIXED, _EFFECT, _MATCHER}
    findings += [Finding(path, entries[key][0], 1, f"[{key[0]}] {key[1]} is not known", "remove it") for key in unknown]
    effect = _effect(path, entries.get(_EFFECT, (0, "")), findings)
    matcher_line, matcher = entries.get(_MATCHER, (0, ""))
    _check_matcher(path, matcher_line, matcher, findings)
    if findings:
        raise PolicyInvalid(tuple(sorted(findings)))
    is_ours = effect == _OUR_EFFECT and _squeezed(matcher) == _squeezed(_OUR_MATCHER)
    return ModelConf(_rendered(effect, _OUR_MATCHER if is_ours else matcher), is_ours)


def check_foreign_size(path: str, rows: Rows) -> None:
    count = len(rows.rules) + len(rows.links)
    if count > FOREIGN_ROWS_MAX:
        message = f"a model of your own is evaluated row by row and takes {FOREIGN_ROWS_MAX} rows, not {count}"
        raise PolicyInvalid((Finding(path, 0, 0, message, "use the shipped model.conf, or fewer rows"),))


def _entries(path: str, content: bytes, findings: list[Finding]) -> dict[tuple[str, str], tuple[int, str]]:
    try:
        text = content.decode("ascii")
    except UnicodeDecodeError:
        findings.append(Finding(path, 0, 0, "the model holds characters beyond ASCII", "save it as plain ASCII"))
        return {}
    entries: dict[tuple[str, str], tuple[int, str]] = {}
    section = ""
    lines = iter(enumerate(text.split("\n"), start=1))
    for number, raw in lines:
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        start = number
        while line.endswith("\\"):
            line = line[:-1].strip() + " " + next(lines, (0, ""))[1].strip()
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
            continue
        name, equals, value = line.partition("=")
        key = (section, name.strip())
        if not equals or key in entries or "#" in value:
            findings.append(Finding(path, start, 1, "not one `name = value`, once", "put comments on their own lines"))
            continue
        entries[key] = (start, value.strip())
    return entries


def _effect(path: str, entry: tuple[int, str], findings: list[Finding]) -> str:
    line, value = entry
    for known in _EFFECTS:
        if _squeezed(known) == _squeezed(value):
            return known
    message = "this effect is not known, or allows what no row mentions"
    findings.append(Finding(path, line, 1, message, "one of: " + "; ".join(_EFFECTS)))
    return ""


def _check_matcher(path: str, line: int, matcher: str, findings: list[Finding]) -> None:
    python = re.sub(r"!(?!=)", " not ", matcher.replace("&&", " and ").replace("||", " or ")).strip()
    try:
        tree = ast.parse(python, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        findings.append(Finding(path, line, 1, "the matcher is no expression", f"m = {_OUR_MATCHER}"))
        return
    for node in ast.walk(tree):
        if problem := _matcher_problem(node):
            findings.append(Finding(path, line, 1, problem, f"over r.* and p.* call only {', '.join(FUNCTIONS)}"))
            return


def _matcher_problem(node: ast.AST) -> str | None:
    if not isinstance(node, _MATCHER_NODES):
        return f"the matcher uses {type(node).__name__}"
    if isinstance(node, ast.Call) and (node.keywords or ast.unparse(node.func) not in FUNCTIONS):
        return f"the matcher calls {ast.unparse(node.func)}"
    if isinstance(node, ast.Name) and node.id not in (*FUNCTIONS, "r", "p"):
        return f"the matcher uses {node.id}"
    if isinstance(node, ast.Attribute) and ast.unparse(node) not in _REQUEST_NAMES | _ROW_NAMES:
        return f"the matcher uses {ast.unparse(node)}"
    if isinstance(node, ast.Constant) and not _is_safe_constant(node.value):
        return f"the matcher uses the constant {node.value!r}"
    return None


def _is_safe_constant(value: object) -> bool:
    return isinstance(value, bool) or (isinstance(value, str) and _SAFE_LITERAL.fullmatch(value) is not None)


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


def _rendered(effect: str, matcher: str) -> str:
    sections: dict[str, list[str]] = {}
    for (section, name), value in {**_FIXED, _EFFECT: effect, _MATCHER: matcher}.items():
        sections.setdefault(section, []).append(f"{name} = {value}")
    return "\n".join(f"[{section}]\n" + "\n".join(lines) + "\n" for section, lines in sections.items())
