"""The tools of an OpenAI Responses request: what each declaration is called, who runs it, what it may cost.

A tool that the client runs has its own name (`function`, `custom`), or that of its type (`local_shell`). A `namespace`
holds several: each is called `namespace__name`, as agents write it elsewhere. What the provider runs is
`builtin:<type>`, whatever the client may call its own.
"""

from collections.abc import Mapping
from typing import Any

from gateway.core.tool_name import SEPARATOR, builtin
from gateway.core.wire.facts import FieldRefused

NAMED_TYPES = frozenset({"function", "custom"})
CLIENT_RUN_TYPES = frozenset(
    {"local_shell", "apply_patch", "computer", "computer_use", "computer_use_preview", "shell"}
)
"""Those whose calls go to the client, under the name of their type."""
FREE_PROVIDER_TYPES = frozenset({"builtin:mcp", "builtin:tool_search"})
"""Those that the provider runs and bills by their tokens alone."""
FEES = frozenset(
    {
        "builtin:web_search_preview",  # for each search, at two prices of which lists have one
        *("builtin:code_interpreter", "builtin:shell"),  # for each container
        "builtin:image_generation",  # for each image
    }
)
"""Those that have a fee besides which no price here covers."""
SEARCHES = frozenset({"builtin:web_search", "builtin:file_search"})
"""Those that are billed by the search besides."""


def declared(tools: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of the tools that the client runs, and of those that the provider runs. Raises FieldRefused."""
    if tools is None:
        return (), ()
    if not isinstance(tools, list):
        raise FieldRefused("tools", "`tools` must be a list")
    by_client: list[str] = []
    by_provider: list[str] = []
    for tool in tools:
        names = names_of(tool)
        # Told by the type: a client may call a function of its own what it likes.
        (by_client if _is_client_run(tool) else by_provider).extend(names)
    return tuple(by_client), tuple(by_provider)


def names_of(tool: Any) -> tuple[str, ...]:
    """What one declaration is called; several names for a namespace. Raises FieldRefused."""
    if not isinstance(tool, Mapping):
        raise FieldRefused("tools", "every entry of `tools` must be an object")
    kind = tool.get("type")
    if not isinstance(kind, str):
        raise FieldRefused("tools", "every entry of `tools` must have a `type`")
    if kind in NAMED_TYPES:
        return (_name(tool),)
    if kind == "namespace":
        inner = tool.get("tools")
        if not isinstance(inner, list):
            raise FieldRefused("tools", "a tool of type `namespace` must have a list `tools`")
        return tuple(in_namespace(_name(tool), name) for each in inner for name in _inside(each))
    if kind == "shell" and _is_hosted(tool):
        return (builtin("shell"),)
    if kind in CLIENT_RUN_TYPES:
        return (kind,)
    if (name := builtin(kind)) in FREE_PROVIDER_TYPES | SEARCHES | FEES:
        return (name,)
    raise FieldRefused("tools", f"tools of type {kind[:64]!r} are not supported", unsupported=True)


def in_namespace(namespace: object, name: str) -> str:
    """The name of a tool inside a namespace; agents end some namespaces in the separator themselves."""
    if not isinstance(namespace, str) or not namespace:
        return name
    return f"{namespace}{name}" if namespace.endswith(SEPARATOR) else f"{namespace}{SEPARATOR}{name}"


def stripped(body: Mapping[str, Any], denied: frozenset[str]) -> dict[str, Any]:
    """The body without the denied tools, and without a choice that would force one of them."""
    kept = dict(body)
    left = [rest for tool in body.get("tools") or () if (rest := _without(tool, denied)) is not None]
    if left:
        kept["tools"] = left
    else:
        kept.pop("tools", None)
        kept.pop("tool_choice", None)
        return kept
    choice = kept.get("tool_choice")
    if isinstance(choice, Mapping):
        kept_choice = _choice_without(choice, denied)
        if kept_choice is None:
            del kept["tool_choice"]
        else:
            kept["tool_choice"] = kept_choice
    return kept


def _without(tool: Mapping[str, Any], denied: frozenset[str]) -> Mapping[str, Any] | None:
    names = names_of(tool)
    if denied.isdisjoint(names):
        return tool
    if tool.get("type") != "namespace":
        return None
    inner = [each for each in tool["tools"] if in_namespace(tool["name"], _inside(each)[0]) not in denied]
    return {**tool, "tools": inner} if inner else None


def _choice_without(choice: Mapping[str, Any], denied: frozenset[str]) -> Mapping[str, Any] | None:
    if choice.get("type") == "allowed_tools" and isinstance(listed := choice.get("tools"), list):
        left = [each for each in listed if _chosen(each) not in denied]
        return {**choice, "tools": left} if left else None
    return None if _chosen(choice) in denied else choice


def _chosen(choice: Any) -> str:
    """The tool that an entry of `tool_choice` means, "" where it means none by name."""
    if not isinstance(choice, Mapping) or not isinstance(kind := choice.get("type"), str):
        return ""
    if kind in NAMED_TYPES:
        name = choice.get("name")
        return in_namespace(choice.get("namespace"), name) if isinstance(name, str) else ""
    return kind if kind in CLIENT_RUN_TYPES else builtin(kind)


def _is_client_run(tool: Mapping[str, Any]) -> bool:
    kind = tool["type"]
    if kind in NAMED_TYPES or kind == "namespace":
        return True
    return kind in CLIENT_RUN_TYPES and not (kind == "shell" and _is_hosted(tool))


def _inside(tool: Any) -> tuple[str, ...]:
    if isinstance(tool, Mapping) and tool.get("type") in NAMED_TYPES:
        return (_name(tool),)
    raise FieldRefused("tools", "a `namespace` holds tools of type `function` or `custom`", unsupported=True)


def _name(tool: Mapping[str, Any]) -> str:
    name = tool.get("name")
    if not isinstance(name, str) or not name:
        raise FieldRefused("tools", "every tool of type `function`, `custom` or `namespace` must have a name")
    return name


def _is_hosted(tool: Mapping[str, Any]) -> bool:
    """A shell runs in a container of the provider unless it says that it is local."""
    environment = tool.get("environment")
    return isinstance(environment, Mapping) and environment.get("type") != "local"
