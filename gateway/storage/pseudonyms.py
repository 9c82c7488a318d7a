"""Names in, pseudonyms out: what may stand in the books about a person, a team, a program or a client (rule 12).

Rule: a name leaves here only as a row for the `names` table, the one that can be erased. Texts that reach us ready made
(denials, reasons, details of changes) have their names replaced, and get them back when they are shown.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from gateway.core.attribution import PERSONAL_KINDS, Attribution
from gateway.core.identity import ABSENT, pseudonym
from gateway.storage.recent import Recent

PSEUDONYMS_KEPT = 50_000
ATTRIBUTIONS_KEPT = 20_000
CLIENT_KIND = "session"
"""The kind of name under which a session id of a client's own making is kept."""

_KINDS = "|".join(sorted(PERSONAL_KINDS))
_TYPED = re.compile(rf"\b({_KINDS}):([^\s,;'\"()]*[^\s,;'\"().:!?])")
PSEUDONYM = re.compile(rf"\b(?:{_KINDS}|{CLIENT_KIND})_[0-9a-f]{{20}}\b")

NameRow = tuple[str, str, str]
"""(pseudonym or key id, kind, name)"""
HeldTexts = tuple[str | None, tuple[str, ...], tuple[str, ...], tuple[str, ...]]
"""Rule, limits, warnings of a hold, and what would have denied it."""
Terms = tuple[tuple[str, str | None], ...]


class Recorded:
    """One attribution as the books keep it. `written` = its rows are in the database already."""

    __slots__ = ("by_kind", "doc", "id", "names", "terms", "texts", "written")

    def __init__(
        self, identifier: str, pairs: Sequence[tuple[str, str]], roles: str, names: Mapping[str, NameRow]
    ) -> None:
        self.id = identifier
        self.doc = orjson.dumps(pairs).decode()
        self.by_kind: Mapping[str, str] = dict(pairs)
        # Beside what was recorded: every call is of the org, and its set of roles is what `each: role` counts by.
        self.terms: tuple[tuple[str, str], ...] = (*pairs, ("org", "org"), *((("roles", roles),) if roles else ()))
        self.names = tuple(names.values())
        self.texts: tuple[HeldTexts, HeldTexts] | None = None
        self.written = False


class Pseudonyms:
    """Makes and remembers pseudonyms and recorded attributions of one installation."""

    def __init__(self, install_key: bytes) -> None:
        self._install_key = install_key
        self._pseudonyms: Recent[tuple[str, str], str] = Recent(PSEUDONYMS_KEPT)
        self._recorded: Recent[Attribution, Recorded] = Recent(ATTRIBUTIONS_KEPT)

    def of(self, kind: str, name: str) -> str:
        found = self._pseudonyms.get((kind, name))
        if found is None:
            found = pseudonym(self._install_key, kind, name)
            self._pseudonyms.put((kind, name), found)
        return found

    def client(self, client_id: str) -> str:
        """The pseudonym of a client's session id; nothing stays nothing."""
        return pseudonym(self._install_key, CLIENT_KIND, client_id) if client_id else ""

    def recorded(self, attribution: Attribution) -> Recorded:
        found = self._recorded.get(attribution)
        if found is None:
            names = {attribution.key_id: (attribution.key_id, "key", attribution.key_name)}
            for kind, name in _personal(attribution):
                names[self.of(kind, name)] = (self.of(kind, name), kind, name)
            pairs = attribution.recorded(self.of)
            found = Recorded(attribution.identifier(self.of), pairs, ",".join(attribution.roles), names)
            self._recorded.put(attribution, found)
        return found

    def terms(self, attribution: Attribution, kinds: Sequence[str]) -> Terms:
        """What the books hold of this attribution under the given selector kinds; None = nothing.

        `key` is recorded by the key's id. `role` is the whole set of roles (`each: role`), `role:<name>` is that one.
        """
        recorded = self.recorded(attribution).by_kind
        terms: list[tuple[str, str | None]] = []
        for kind in kinds:
            if kind == "role":
                terms.append(("roles", ",".join(attribution.roles) or None))
            elif kind.startswith("role:"):
                roles = (role for role in attribution.roles if role in (kind, kind.removeprefix("role:")))
                terms.append(("role", next(roles, None)))
            else:
                terms.append((kind, recorded.get(kind)))
        return tuple(terms)

    def hide(self, value: Any, attribution: Attribution | None, names: dict[str, NameRow]) -> Any:
        """`value` (JSON) with names replaced; the rows that give them back are added to `names`."""
        known = [] if attribution is None else [*_personal(attribution), ("key", attribution.key_name)]
        kinds = {name: kind for kind, name in reversed(known)}
        longest_first = sorted(kinds, key=len, reverse=True)
        own = re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, longest_first))})(?![\w-])") if kinds else None

        def replaced(kind: str, name: str) -> str:
            if name == ABSENT or PSEUDONYM.fullmatch(name):
                return name
            found = self.of(kind, name)
            names[found] = (found, kind, name)
            return found

        def hidden(part: Any) -> Any:
            if isinstance(part, str):
                text = part if own is None else own.sub(lambda m: replaced(kinds[m[0]], m[0]), part)
                return _TYPED.sub(lambda m: f"{m[1]}:{replaced(m[1], m[2])}", text)
            if isinstance(part, Mapping):
                return {
                    name: replaced(name, inner) if name in PERSONAL_KINDS and isinstance(inner, str) else hidden(inner)
                    for name, inner in part.items()
                }
            return [hidden(inner) for inner in part] if isinstance(part, list | tuple) else part

        return hidden(value)

    def hide_held(
        self, texts: HeldTexts, attribution: Attribution, recorded: Recorded, names: dict[str, NameRow]
    ) -> HeldTexts:
        """`hide` for the texts of a hold, which are the same from call to call."""
        if recorded.texts is None or recorded.texts[0] != texts:
            own: dict[str, NameRow] = {}
            rule, *lists = self.hide(texts, attribution, own)
            limits, warnings, would_deny = map(tuple, lists)
            hidden = (rule, limits, warnings, would_deny)
            names.update(own)
            if own:
                recorded.names = tuple({row[0]: row for row in (*recorded.names, *own.values())}.values())
                recorded.written = False
            recorded.texts = (texts, hidden)
            return hidden
        return recorded.texts[1]

    def forget(self) -> None:
        """After a name was erased: nothing here may believe that it is on file."""
        self._pseudonyms.clear()
        self._recorded.clear()


def reveal(text: str, names: Mapping[str, str]) -> str:
    """A text with its pseudonyms replaced by the names that are still on file."""
    return PSEUDONYM.sub(lambda m: names.get(m[0], m[0]), text)


def reveal_json(text: str, names: Mapping[str, str]) -> str:
    """`reveal` for a JSON document, in which a name must not end a string."""
    return PSEUDONYM.sub(lambda m: orjson.dumps(names.get(m[0], m[0])).decode()[1:-1], text)


def _personal(attribution: Attribution) -> list[tuple[str, str]]:
    """(kind, name) of everything in an attribution that is kept as a pseudonym, but for the key."""
    single = [(kind, attribution.value(kind)) for kind in sorted(PERSONAL_KINDS - {"key", "tag"})]
    tags = [("tag", f"{name}={value}") for name, value in attribution.tags]
    return [(kind, name) for kind, name in (*single, *tags) if name != ABSENT]
