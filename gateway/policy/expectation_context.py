"""The `context` of an expectation: attributes by their dotted names, typed as in the schema of conditions."""

from datetime import datetime

import yaml

from gateway.core.condition_context import OF_PAIR, AttributeValue, PolicyContext
from gateway.core.condition_schema import fix_for, kind_of
from gateway.core.condition_values import is_of_kind

_OF_CALL = ("session", "model", "tool", "call")


class ContextInvalid(ValueError):
    def __init__(self, node: yaml.Node, message: str, fix: str) -> None:
        super().__init__(message)
        self.node = node
        self.message = message
        self.fix = fix


def context_of(node: yaml.Node | None, principal: dict[str, str]) -> PolicyContext:
    """Raises ContextInvalid. `principal` are the names of the subjects, which a context may not contradict."""
    known: dict[str, AttributeValue] = dict(principal)
    of_call: dict[str, AttributeValue] = {}
    local_time: datetime | None = None
    args: dict[str, object] | None = None
    ratios: dict[str, float] = {}
    if node is None:
        return PolicyContext(principal=known)
    if not isinstance(node, yaml.MappingNode):
        raise ContextInvalid(node, "context is a mapping", "write {user.groups: [engineering]}")
    for key_node, value_node in node.value:
        name = str(key_node.value)
        value = _plain(value_node)
        if name == "time":
            local_time = _local_time(value_node)
        elif name == "args":
            args = _mapping(value_node, value)
        elif name == "limit":
            ratios = _ratios(value_node, value)
        elif name in known or name in of_call:
            raise ContextInvalid(key_node, f"{name} is given already", "remove it")
        else:
            attribute = _attribute(key_node, value_node, name, value)
            (of_call if name.split(".", maxsplit=1)[0] in _OF_CALL else known)[name] = attribute
    return PolicyContext(known, of_call, local_time, args, ratios.get)


def _attribute(key_node: yaml.Node, value_node: yaml.Node, name: str, value: object) -> AttributeValue:
    first, *rest = name.split(".", 2)
    path = (first, *rest)
    kind = kind_of(path)
    if kind is None or first in ("args", "limit", "time") or name in OF_PAIR:
        fix = "write time: 2026-01-31T22:30" if first == "time" else fix_for(path)
        fix = "it follows from model: and tool:" if name in OF_PAIR else fix
        raise ContextInvalid(key_node, f"{name!r} is no attribute to set here", fix)
    if isinstance(value, list):
        value = tuple(value)
    if not is_of_kind(value, kind):
        raise ContextInvalid(value_node, f"{name} is {kind.value}", "quote a text that looks like a number")
    return value  # type: ignore[return-value]


def _local_time(node: yaml.Node) -> datetime:
    try:
        time = datetime.fromisoformat(str(node.value))
    except ValueError:
        raise ContextInvalid(node, "time is no date and time", "write time: 2026-01-31T22:30") from None
    if time.tzinfo is not None:
        raise ContextInvalid(node, "time is local to policy.timezone", "write it without an offset")
    return time


def _mapping(node: yaml.Node, value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ContextInvalid(node, "this is a mapping", "write {name: value}")
    return value


def _ratios(node: yaml.Node, value: object) -> dict[str, float]:
    ratios: dict[str, float] = {}
    for name, ratio in _mapping(node, value).items():
        if isinstance(ratio, bool) or not isinstance(ratio, (int, float)):
            raise ContextInvalid(node, f"the used ratio of {name} is no number", "write limit: {session-tokens: 0.5}")
        ratios[name] = float(ratio)
    return ratios


def _plain(node: yaml.Node) -> object:
    """Plain values as YAML types them; dates stay text."""
    if isinstance(node, yaml.MappingNode):
        if len({str(key.value) for key, _ in node.value}) != len(node.value):
            raise ContextInvalid(node, "a key is given twice", "remove one")
        return {str(key.value): _plain(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item) for item in node.value]
    text = str(node.value)
    if node.tag == "tag:yaml.org,2002:bool":
        return text.lower() in ("true", "yes", "on")
    try:
        if node.tag == "tag:yaml.org,2002:int":
            return int(text.replace("_", ""), 0)
        if node.tag == "tag:yaml.org,2002:float":
            return float(text.replace("_", ""))
    except ValueError:
        raise ContextInvalid(node, f"{text!r} is no plain number", "write it in decimal, or quote it") from None
    return None if node.tag == "tag:yaml.org,2002:null" else text
