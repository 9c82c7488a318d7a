"""Forms with files (`multipart/form-data`, RFC 7578), read strictly: what one reader takes for the model, no other may
take for something else. Whatever is unusual is refused; the bytes are never rewritten but for the name of the model.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from gateway.core.wire.facts import FieldRefused

PARTS_MAX = 64
HEAD_BYTES_MAX = 1024
TEXT_BYTES_MAX = 1024 * 1024
_BOUNDARY = re.compile(r'multipart/form-data; *boundary=(?:"([^"\\]+)"|([^\s";,]+))', re.IGNORECASE)
_SAFE_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=?-]{1,70}")
_DISPOSITION = re.compile(
    rb'content-disposition: *form-data; *name="([A-Za-z0-9_]+(?:\[[A-Za-z0-9_]*\])*)"(?:; *filename="([^"\\\r\n]*)")?',
    re.IGNORECASE,
)
_TYPE = re.compile(rb"content-type: *([!-~ ]+)", re.IGNORECASE)


class Part(NamedTuple):
    """One part. `start` and `end` are where its content lies in the body; `file` = it has a file name."""

    name: str
    file: bool
    start: int
    end: int


class Form(NamedTuple):
    """`content` is the body as it came, `content_type` its header's value, with the boundary."""

    content: bytes
    content_type: str
    parts: tuple[Part, ...]

    def texts(self) -> Mapping[str, str | list[str]]:
        """The fields that are not files; lists are those whose name ends with `[]`. Raises FieldRefused."""
        found: dict[str, str | list[str]] = {}
        for part in self.parts:
            if part.file:
                continue
            text = self._text(part)
            if part.name.endswith("[]"):
                before = found.setdefault(part.name, [])
                assert isinstance(before, list)
                before.append(text)
            else:
                found[part.name] = text
        return found

    def files(self, *names: str) -> list[Part]:
        return [part for part in self.parts if part.file and part.name in names]

    def with_model(self, model: str) -> bytes:
        """The body with this name in its field `model`, a new first one where it has none; every other byte stays."""
        part = next((part for part in self.parts if part.name == "model"), None)
        if part is None:
            mark = self.content[: self.content.index(b"\r\n")]
            head = mark + b'\r\nContent-Disposition: form-data; name="model"\r\n\r\n'
            return b"".join((head, model.encode(), b"\r\n", self.content))
        return b"".join((self.content[: part.start], model.encode(), self.content[part.end :]))

    def _text(self, part: Part) -> str:
        if part.end - part.start > TEXT_BYTES_MAX:
            raise FieldRefused(part.name, f"`{part.name}` may have at most {TEXT_BYTES_MAX} bytes")
        try:
            return self.content[part.start : part.end].decode()
        except UnicodeDecodeError:
            raise FieldRefused(part.name, f"`{part.name}` must be text in UTF-8") from None


def read_form(content: bytes, content_type: str) -> Form:
    """Raises FieldRefused for everything that is not a plain form: no preamble, no epilogue, no nested or encoded part,
    no field twice."""
    found = _BOUNDARY.fullmatch(content_type.strip())
    boundary = (found[1] or found[2]) if found else ""
    if not _SAFE_BOUNDARY.fullmatch(boundary):
        raise FieldRefused("body", "the body must be `multipart/form-data` with a plain boundary")
    mark = b"--" + boundary.encode()
    if not content.startswith(mark + b"\r\n"):
        raise FieldRefused("body", "the form must begin with its boundary")
    parts: list[Part] = []
    seen: set[str] = set()
    at = len(mark)
    while content[at : at + 2] == b"\r\n":
        if len(parts) == PARTS_MAX:
            raise FieldRefused("body", f"a form may have at most {PARTS_MAX} parts")
        # A head of no line begins with the empty line that ends it.
        start = content.find(b"\r\n\r\n", at, at + HEAD_BYTES_MAX)
        if start < 0:
            raise FieldRefused("body", "a part of the form has no end of its head")
        end = content.find(b"\r\n" + mark, start + 2)
        if end < start + 4:
            raise FieldRefused("body", "a part of the form is broken off")
        name, file = _head(content[at + 2 : start])
        if name in seen and not name.endswith("[]"):
            raise FieldRefused(name, f"`{name}` came more than once")
        seen.add(name)
        parts.append(Part(name, file, start + 4, end))
        at = end + 2 + len(mark)
    if content[at:] not in (b"--", b"--\r\n"):
        raise FieldRefused("body", "the form does not end with its boundary")
    return Form(content, content_type, tuple(parts))


def _head(head: bytes) -> tuple[str, bool]:
    disposition, *others = head.split(b"\r\n")
    found = _DISPOSITION.fullmatch(disposition)
    if found is None and len(others) == 1:
        disposition, others = others[0], [disposition]
        found = _DISPOSITION.fullmatch(disposition)
    if found is None or len(others) > 1 or (others and _TYPE.fullmatch(others[0]) is None):
        raise FieldRefused(
            "body", "a part of the form may have one `content-disposition` with a plain name and one `content-type`"
        )
    return found[1].decode(), found[2] is not None
