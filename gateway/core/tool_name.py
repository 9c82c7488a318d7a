"""Canonical names of tools, so that one tool is judged by one name, whoever re-exports it and however.

Ours is `server__tool`; a tool that the provider runs itself is `builtin:<type>`; a client's own tool keeps its name.
Agents put a prefix before the tools of an MCP server, replace characters and shorten. What is known is recognised by
name; nothing is split where that would be a guess. Rule: a name that could mean several tools means all of them.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping

SEPARATOR = "__"
BUILTIN_PREFIX = "builtin:"
# What the model APIs accept for a function.
NAME_CHARACTERS_MAX = 64

_DIGEST_CHARACTERS = 10
# Clients cut at 60 to 64 characters; anything that long may be the beginning of a longer name.
_CUT_CHARACTERS_MIN = 60
_DECLARED_CHARACTERS_MAX = 256
_REMEMBERED_CALLS_MAX = 512
_MCP = "mcp_"
_SERVER_NAME = re.compile(r"[A-Za-z0-9]+(?:[_.-][A-Za-z0-9]+)*")
_TYPE_DATE = re.compile(r"_20[0-9]{2}_?[0-9]{2}_?[0-9]{2}$")
_JOINTS = re.compile(r"[^a-z0-9]+")


def is_server_name(name: str) -> bool:
    """A server's name begins the names of its tools, so it holds no `__` and does not end in a joint."""
    return _SERVER_NAME.fullmatch(name) is not None and name.lower() != "mcp"


def canonical(server: str, tool: str) -> str:
    return f"{server}{SEPARATOR}{tool}"


def builtin(tool_type: str) -> str:
    """A tool that the provider runs, by its type without the date that some carry: `web_search_20250305`."""
    return BUILTIN_PREFIX + _TYPE_DATE.sub("", tool_type)


def shorten(name: str, characters_max: int = NAME_CHARACTERS_MAX) -> str:
    """Always the same for the same name. Keep what it stands for: it cannot be taken back."""
    if len(name) <= characters_max:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST_CHARACTERS]
    return f"{name[: characters_max - _DIGEST_CHARACTERS - 1]}_{digest}"


class ToolNames:
    """Made anew when the tools that the gateway offers change; answers never depend on what was asked before.

    `known` are the canonical names of all those tools. `gateways` are the names under which clients have the gateway
    among their MCP servers. `shortened` maps names that were handed out to canonical ones.
    """

    def __init__(
        self, known: Iterable[str], gateways: Iterable[str], shortened: Mapping[str, str] | None = None
    ) -> None:
        gateways = tuple(gateways)
        self._gateways = tuple(_folded(name) + "_" for name in sorted(gateways, key=len, reverse=True))
        tools_by_form: dict[str, set[str]] = {}
        for name in known:
            for form in _forms(name, gateways):
                tools_by_form.setdefault(_folded(form), set()).add(name)
        for form, name in (shortened or {}).items():
            tools_by_form.setdefault(_folded(form), set()).add(name)
        self._tools_by_form = {form: tuple(sorted(names)) for form, names in tools_by_form.items()}
        self._remembered: dict[tuple[str, ...], tuple[str, ...]] = {}

    def canonical_all(self, declared: tuple[str, ...]) -> tuple[str, ...]:
        """Of all tools that a call declares, without doubles. Agents declare the same ones each time."""
        names = self._remembered.get(declared)
        if names is None:
            names = tuple(dict.fromkeys(name for each in declared for name in self.canonical(each)))
            if len(self._remembered) >= _REMEMBERED_CALLS_MAX:
                self._remembered.clear()
            self._remembered[declared] = names
        return names

    def canonical(self, declared: str) -> tuple[str, ...]:
        """What one declared function stands for: several names where it is ambiguous, never none."""
        if len(declared) > _DECLARED_CHARACTERS_MAX:
            return (_own(declared),)
        folded = _folded(declared)
        tails = tuple(dict.fromkeys(self._tails(folded)))
        for tail in tails:
            if names := self._tools_by_form.get(tail):
                return names
        if names := self._behind_unknown_gateway(declared, folded):
            return names
        if len(declared) >= _CUT_CHARACTERS_MIN:
            begun = (form for form in self._tools_by_form if any(form.startswith(tail) for tail in tails))
            if names := tuple(sorted({name for form in begun for name in self._tools_by_form[form]})):
                return names
        return (_own(self._unprefixed(declared)),)

    def _tails(self, folded: str) -> Iterator[str]:
        """The name without what a client may have put before it; the most that can be taken off comes last."""
        yield folded
        unprefixed = folded.removeprefix(_MCP)
        yield unprefixed
        for gateway in self._gateways:
            yield unprefixed.removeprefix(gateway)

    def _behind_unknown_gateway(self, declared: str, folded: str) -> tuple[str, ...]:
        """A client may call the gateway what it likes. What ends in a whole known name behind an MCP prefix, or with
        our separator in it, is that tool."""
        if not folded.startswith(_MCP) and SEPARATOR not in declared:
            return ()
        for at, character in enumerate(folded):
            names = self._tools_by_form.get(folded[at + 1 :], ()) if character == "_" else ()
            if names and (folded.startswith(_MCP) or any(declared.endswith(name) for name in names)):
                return names
        return ()

    def _unprefixed(self, declared: str) -> str:
        """A tool that nobody knows: `mcp__server__tool` is a tool of that server; a known gateway comes off."""
        name = declared
        if name.lower().startswith("mcp__") and SEPARATOR in name[5:]:
            name = name[5:]
        for gateway in self._gateways:
            head = len(gateway) - 1
            rest = name[head:].lstrip("_-")
            if _folded(name[:head]) + "_" == gateway and SEPARATOR in rest and name[head : head + 1] in ("_", "-"):
                return rest
        return name


def _forms(name: str, gateways: tuple[str, ...]) -> Iterator[str]:
    """The forms in which a tool of ours comes back that no rule of prefixes explains."""
    yield name
    yield shorten(name)
    for gateway in gateways:
        for exported in {name, shorten(name)}:
            by_codex = f"mcp__{gateway}__{exported}"
            if len(by_codex) > NAME_CHARACTERS_MAX:
                digest = hashlib.sha1(by_codex.encode(), usedforsecurity=False).hexdigest()
                yield by_codex[: NAME_CHARACTERS_MAX - len(digest)] + digest
            for by_gemini in (f"mcp_{gateway}_{exported}", f"{gateway}__{exported}"):
                if len(by_gemini) >= NAME_CHARACTERS_MAX:
                    yield f"{by_gemini[:28]}___{by_gemini[-32:]}"


def _folded(name: str) -> str:
    """Clients replace and double joints and change case at will."""
    return _JOINTS.sub("_", name.lower()).strip("_")


def _own(declared: str) -> str:
    """A client's own function. None of the words that mean something else in a policy may be its name."""
    if declared in ("", "-") or declared.startswith(("*", BUILTIN_PREFIX, "group:")):
        return f"function:{declared}"
    return declared
