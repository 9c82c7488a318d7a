"""Reads one YAML document strictly into a tree of texts, and remembers where everything stands.

Rules: no type is guessed (see tree.py), no key may stand twice, no tags, no merge keys, one document; aliases are
allowed as long as the whole stays small. What is wrong is collected; only broken syntax ends the reading.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import yaml

from gateway.settings.findings import Finding, Flaw, SettingPath, SettingsError
from gateway.settings.references import References
from gateway.settings.tree import Text, Value

BYTES_MAX = 1024 * 1024
NODES_MAX = 50_000
DEPTH_MAX = 32
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


@dataclass(frozen=True, slots=True)
class Place:
    """Line and column, from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a value stands, and the key before it if it has one."""

    value: Place
    key: Place | None = None


@dataclass(slots=True)
class Document:
    """A file that was read. `spots` has the place of every value; `flawed` the values that were left out as null."""

    file: str
    root: dict[str, Value] = field(default_factory=dict)
    spots: dict[SettingPath, Spot] = field(default_factory=dict)
    references: dict[SettingPath, tuple[str, ...]] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    faults: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)

    def place(self, path: SettingPath, *, at_key: bool = False) -> Place:
        """The place of a value, or of the nearest thing around it that the file has."""
        for length in range(len(path), 0, -1):
            spot = self.spots.get(path[:length])
            if spot is not None:
                inside = length < len(path)
                return spot.key if spot.key is not None and (at_key or inside) else spot.value
        return Place(1, 1)

    def finding(self, path: SettingPath, flaw: Flaw, *, at_key: bool = False) -> Finding:
        path = (*path, *flaw.at)
        place = self.place(path, at_key=at_key)
        return Finding(path, place.line, place.column, flaw.message, flaw.hint, self.file)


def read(content: bytes, file: str, references: References) -> Document:
    """Raises SettingsError where the text is no YAML at all."""
    document = Document(file)
    text = _decode(content, document)
    try:
        composer = _Composer(text)
        try:
            node = composer.get_single_node()
        finally:
            composer.dispose()
    except yaml.reader.ReaderError as error:
        place = _place_at(text, error.position)
        message = f"the character U+{error.character:04X} is not allowed in YAML"
        raise _broken(document, place, message) from None
    except yaml.MarkedYAMLError as error:
        raise _broken(document, _place(error.problem_mark), _words(error), _advice(error)) from None
    if node is not None:
        for place, message in composer.refused:
            document.faults.append(Finding((), place.line, place.column, message, "remove it", file))
        _Builder(document, references).build(node)
    return document


def _decode(content: bytes, document: Document) -> str:
    if len(content) > BYTES_MAX:
        raise _broken(document, Place(1, 1), f"the file is larger than {BYTES_MAX // 1024} KiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode(errors="replace")
        message = "the file is not UTF-8 text"
        raise _broken(document, _place_at(before, len(before)), message, "save it as UTF-8") from None


class _Composer(yaml.SafeLoader):
    """Builds nodes, no objects. Notes explicit tags, and stops at a depth that no configuration has."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = 0
        self.refused: list[tuple[Place, str]] = []

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call] # the stubs leave it out
        tag = getattr(event, "tag", None)
        mark = cast("yaml.Mark | None", event.start_mark)
        if tag not in (None, "!"):
            self.refused.append((_place(mark), f"tags such as `{_short(tag)}` are not allowed"))
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise yaml.composer.ComposerError(None, None, f"nested deeper than {DEPTH_MAX} levels", mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _TooLarge(Exception):
    pass


class _Builder:
    """Turns nodes into the tree of a document. A value that has a fault becomes null."""

    def __init__(self, document: Document, references: References) -> None:
        self._document = document
        self._references = references
        self._nodes = 0

    def build(self, node: yaml.Node) -> None:
        try:
            root = self._value(node, (), 0)
        except _TooLarge:
            message = (
                f"the file holds more than {NODES_MAX} values, or no end of them, once its aliases are written out"
            )
            raise _broken(self._document, Place(1, 1), message) from None
        if isinstance(root, dict):
            self._document.root = root
        elif root is not None:
            hint = "the file starts with sections such as `server:` and `providers:`"
            raise _broken(self._document, _place(node.start_mark), "a configuration is a mapping", hint)

    def _value(self, node: yaml.Node, path: SettingPath, depth: int) -> Value:
        self._nodes += 1
        if self._nodes > NODES_MAX or depth > DEPTH_MAX:
            raise _TooLarge
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            items = []
            for index, child in enumerate(node.value):
                here = (*path, index)
                self._document.spots[here] = Spot(_place(child.start_mark))
                items.append(self._value(child, here, depth + 1))
            return tuple(items)
        assert isinstance(node, yaml.ScalarNode)
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: SettingPath, depth: int) -> dict[str, Value]:
        result: dict[str, Value] = {}
        for key_node, value_node in node.value:
            place = _place(key_node.start_mark)
            for flaw in self._key_flaws(key_node):
                self._fault(path, place, flaw)
                break
            else:
                key: str = key_node.value
                here = (*path, key)
                if key in result:
                    first = self._document.place(here, at_key=True)
                    self._fault(here, place, Flaw(f"`{key}` stands here a second time", f"first in line {first.line}"))
                    continue
                # A block of settings is best found by the key above it.
                block = isinstance(value_node, yaml.CollectionNode) and not value_node.flow_style
                self._document.spots[here] = Spot(place if block else _place(value_node.start_mark), place)
                result[key] = self._value(value_node, here, depth + 1)
        return result

    @staticmethod
    def _key_flaws(node: yaml.Node) -> Iterator[Flaw]:
        if not isinstance(node, yaml.ScalarNode):
            yield Flaw("a key must be a plain word")
        elif node.value == "<<" and node.style is None:
            yield Flaw("merge keys (`<<`) are not supported", "write the settings out")
        elif not node.value.strip():
            yield Flaw("this key is empty")
        elif "${" in node.value:
            yield Flaw("references are replaced in values only, not in keys")

    def _scalar(self, node: yaml.ScalarNode, path: SettingPath) -> Text | None:
        text: str = node.value
        if node.style is None and text in _NULLS:
            return None
        if "$" not in text:
            return Text(text, bare=node.style is None)
        document = self._document
        expansion = self._references.expand(text)
        document.files += expansion.files
        document.warnings += [document.finding(path, flaw) for flaw in expansion.warnings]
        if expansion.flaws:
            document.faults += [document.finding(path, flaw) for flaw in expansion.flaws]
            return None
        names = tuple(dict.fromkeys(expansion.names))
        if names:
            document.references[path] = names
            if not expansion.text:
                return None
        return Text(
            expansion.text,
            bare=node.style is None or bool(names),
            references=names,
            inline=tuple(filter(None, expansion.inline)),
        )

    def _fault(self, path: SettingPath, place: Place, flaw: Flaw) -> None:
        finding = Finding(path, place.line, place.column, flaw.message, flaw.hint, self._document.file)
        self._document.faults.append(finding)


def _short(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")[:60]


def _place(mark: yaml.Mark | None) -> Place:
    return Place(1, 1) if mark is None else Place(mark.line + 1, mark.column + 1)


def _place_at(text: str, position: int) -> Place:
    before = text[:position]
    return Place(before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1)


def _broken(document: Document, place: Place, message: str, hint: str = "") -> SettingsError:
    finding = Finding((), place.line, place.column, message, hint, document.file)
    return SettingsError([*document.faults, finding])


def _words(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "this is not YAML"
    if "'\\t'" in problem:
        return "a tab cannot be used to indent"
    if problem.startswith("but found another document"):
        return "a second document starts here; one file is one configuration"
    if problem.startswith("found undefined alias"):
        return problem.replace("found undefined alias", "no anchor has the name") + " (a leading `*` is an alias)"
    if problem.startswith("nested deeper"):
        return problem
    return f"not valid YAML: {problem}"


def _advice(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or ""
    if "'\\t'" in problem:
        return "use spaces"
    if problem.endswith("but got '{'"):
        return "put `${...}` in quotes"
    if "mapping values are not allowed" in problem:
        return "quote a text that holds `: `, and check the indentation"
    if "'%'" in problem or "'@'" in problem or "'`'" in problem:
        return "a text that starts with this character must stand in quotes"
    if problem.startswith("but found another document"):
        return "keep one of them, without the `---`"
    if error.context and error.context_mark is not None:
        return f"{error.context} from line {error.context_mark.line + 1}"
    return ""
