"""What may stand in each field of a row. Every check raises FieldWrong with the offset in the field and a fix."""

import difflib
import unicodedata

from gateway.core.condition import Condition, compile_condition
from gateway.core.condition_tokens import ConditionInvalid
from gateway.policy.rows import (
    ANYTHING,
    EVERYONE,
    GROUP_PREFIX,
    MODEL_INVOKE,
    NONE,
    PORTAL_ANYTHING,
    PORTAL_PREFIX,
    TOOL_CALL,
    TOOL_LIST,
    Effect,
)

SUBJECT_TYPES = ("user", "team", "app", "service", "agent", "key", "role")
_ACTIONS = (MODEL_INVOKE, TOOL_LIST, TOOL_CALL, PORTAL_ANYTHING)
_NAME_SIGNS = frozenset("._:/@+~=-")
_REGEX_SIGNS = frozenset("^$()[]{}|?\\")
_NAME_CHARACTERS_MAX = 256


class FieldWrong(ValueError):
    def __init__(self, message: str, fix: str, offset: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix
        self.offset = offset


def check_subject(text: str) -> None:
    kind, colon, name = text.partition(":")
    if not colon or kind not in SUBJECT_TYPES:
        raise FieldWrong(f"{text!r} is no typed subject", _subject_fix(text, kind))
    if ANYTHING in name:
        raise FieldWrong("a subject has no wildcard", f"use a role or team, or {EVERYONE}", text.index(ANYTHING))
    _check_name(name, "a subject", offset=len(kind) + 1, letters_of_any_script=True)


def _subject_fix(text: str, kind: str) -> str:
    if kind == "end_user":
        return "an end user is for attribution and limits, never for permission; use app: or team:"
    if kind == "group":
        return "groups hold models or tools; people are grouped by role: or team:"
    if kind.strip().lower() in SUBJECT_TYPES:
        return f"write {kind.strip().lower()}:"
    if text == ANYTHING:
        return f"write {EVERYONE}"
    return f"write one of {': '.join(SUBJECT_TYPES)}: before the name"


def check_link_member(text: str) -> None:
    check_subject(text)
    if text == EVERYONE:
        raise FieldWrong(f"{EVERYONE} cannot be given anything by g", "write a p row for it")


def check_role_or_team(text: str) -> None:
    check_subject(text)
    if not text.startswith(("role:", "team:")):
        raise FieldWrong(f"{text!r} is neither a role nor a team", "write role: or team: before the name")
    if text == EVERYONE:
        raise FieldWrong(f"every call has {EVERYONE} already", "remove the row")


def check_pattern(text: str, what: str) -> None:
    """A model or tool of a `p` row: exact, `group:name`, a trailing `*`, `*`, or `-`."""
    if text in (ANYTHING, NONE):
        return
    if text.lower().startswith(GROUP_PREFIX):
        check_group(text)
        return
    _check_name(text.removesuffix(ANYTHING), what)


def check_group_member(text: str, what: str) -> None:
    if text in (ANYTHING, NONE):
        raise FieldWrong(f"{text!r} cannot be put into a group", f"name the {what}s, or write {text} in the p row")
    check_pattern(text, f"a {what}")


def check_group(text: str) -> None:
    if not text.startswith(GROUP_PREFIX):
        fix = "write group: in lower case" if text.lower().startswith(GROUP_PREFIX) else f"write {GROUP_PREFIX}{text}"
        raise FieldWrong(f"{text!r} is no group", fix)
    name = text.removeprefix(GROUP_PREFIX)
    if ANYTHING in name:
        raise FieldWrong("a group has no wildcard", "name the group", text.index(ANYTHING))
    _check_name(name, "a group", offset=len(GROUP_PREFIX))


def check_action(text: str) -> None:
    if text in _ACTIONS:
        return
    if text.startswith(PORTAL_PREFIX):
        name = text.removeprefix(PORTAL_PREFIX)
        if name and all(character.isascii() and (character.islower() or character in "_:") for character in name):
            return
        raise FieldWrong(f"{text!r} is no portal action", "write portal:* or portal:<name> in lower case")
    near = difflib.get_close_matches(text.lower(), _ACTIONS, n=1)
    fix = f"did you mean {near[0]}?" if near else f"one of {', '.join(_ACTIONS)}, or portal:<name>"
    raise FieldWrong(f"{text!r} is no action", fix)


def effect_of(text: str) -> Effect:
    for effect in Effect:
        if text == effect.value:
            return effect
    if "#" in text:
        raise FieldWrong("a comment inside a row", "put the comment on a line of its own", text.index("#"))
    near = difflib.get_close_matches(text.lower().strip(), [effect.value for effect in Effect], n=1)
    raise FieldWrong(f"{text!r} is no effect", f"write {near[0]}" if near else "write allow or deny")


def condition_of(text: str) -> Condition | None:
    if not text:
        return None
    try:
        return compile_condition(text)
    except ConditionInvalid as invalid:
        raise FieldWrong(invalid.message, invalid.fix, invalid.offset) from None


def check_model_fits(model: str, action: str, effect: Effect) -> None:
    """A row that could never match is refused: a deny row among them would leave open what it seems to close."""
    if model == NONE and action == MODEL_INVOKE:
        raise FieldWrong("a model call always has a model", "write * for any model")
    if model == NONE and effect is Effect.ALLOW and action in (TOOL_CALL, TOOL_LIST):
        raise FieldWrong("a tool call without a known model is allowed by * only", "write * for any model or none")
    if model not in (NONE, ANYTHING) and action.startswith(PORTAL_PREFIX):
        raise FieldWrong("a portal action has no model", "write -")


def check_tool_fits(tool: str, action: str) -> None:
    if tool == NONE and action in (TOOL_CALL, TOOL_LIST):
        raise FieldWrong(f"{action} always has a tool", "write * for any tool")
    if tool not in (NONE, ANYTHING) and action.startswith(PORTAL_PREFIX):
        raise FieldWrong("a portal action has no tool", "write -")


def check_condition_fits(condition: Condition | None, action: str, effect: Effect) -> None:
    for attribute in condition.attributes if condition else ():
        if attribute.path[0] == "args" and action not in (TOOL_CALL, TOOL_LIST):
            message = f"{attribute.name} is never known for {action}"
            raise FieldWrong(message, "arguments belong to tool:call rows", attribute.offset)
        if attribute.path[:2] == ("call", "tags") and effect is Effect.ALLOW:
            message = "tags are the client's own words and never allow anything"
            raise FieldWrong(message, "use a declared label, or a deny row that asks for the tag", attribute.offset)


def _check_name(name: str, what: str, *, offset: int = 0, letters_of_any_script: bool = False) -> None:
    if not name:
        raise FieldWrong(f"{what} is missing", "name it", offset)
    if len(name) > _NAME_CHARACTERS_MAX:
        raise FieldWrong(f"{what} is too long", f"use at most {_NAME_CHARACTERS_MAX} characters", offset)
    for position, character in enumerate(name):
        if character.isascii() and (character.isalnum() or character in _NAME_SIGNS or character == "_"):
            continue
        if letters_of_any_script and not character.isascii() and character.isalnum():
            continue
        raise FieldWrong(*_character_problem(character), offset + position)
    if name[0] in "-.~=":
        raise FieldWrong(f"a name does not begin with {name[0]!r}", "begin with a letter or digit", offset)
    if unicodedata.normalize("NFC", name) != name:
        raise FieldWrong("letters are not in their composed form (Unicode NFC)", "type the name anew", offset)


def _character_problem(character: str) -> tuple[str, str]:
    if character == ANYTHING:
        return "* stands at the end only", "write one trailing *, or use a group"
    if character in _REGEX_SIGNS:
        return f"{character!r} looks like a regular expression", "write an exact name, group:<name> or a trailing *"
    if character == "#":
        return "a comment inside a row", "put the comment on a line of its own"
    if character == " ":
        return "a space inside a name", "remove it, or separate the fields with a comma"
    if character == ";":
        return "; does not separate fields", "write a comma"
    return f"stray character {character!r} in a name", "use letters, digits and . _ : / @ + ~ = -"
