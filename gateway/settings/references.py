"""Replaces `${NAME}`, `${NAME:-default}` and `${file:path}` in the values of a configuration.

Rules: what a name or a file holds is taken as it is and never read again for references; `:-` also stands in for an
empty variable, as in a shell; `$${` is the characters `${`; a path is relative to the configuration file.
"""

import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.settings.findings import Flaw

FILE_BYTES_MAX = 64 * 1024
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FORMS = "a reference is `${NAME}`, `${NAME:-default}` or `${file:path}`; write `$${` for the characters themselves"


@dataclass(slots=True)
class Expansion:
    """What a text became. `literal` is what the file itself says outside of references, `inline` inside of defaults."""

    text: str = ""
    literal: list[str] = field(default_factory=list)
    inline: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    flaws: list[Flaw] = field(default_factory=list)
    warnings: list[Flaw] = field(default_factory=list)

    def take(self, other: "Expansion") -> None:
        """Adopts what was met while a part was expanded."""
        self.names += other.names
        self.files += other.files
        self.flaws += other.flaws
        self.warnings += other.warnings


@dataclass(frozen=True, slots=True)
class References:
    """Where references lead: the environment, and the directory that relative files start from."""

    environment: Mapping[str, str]
    directory: Path

    def expand(self, text: str) -> Expansion:
        found = Expansion()
        parts: list[str] = []
        position = 0
        while (start := text.find("$", position)) >= 0:
            self._literal(text[position:start], parts, found)
            if text.startswith("$${", start):
                self._literal("${", parts, found)
                position = start + 3
            elif text.startswith("${", start):
                end = _closing(text, start + 2)
                if end < 0:
                    found.flaws.append(Flaw("a `${` is never closed", _FORMS))
                    return found
                parts.append(self._resolve(text[start + 2 : end], found))
                position = end + 1
            else:
                self._literal("$", parts, found)
                position = start + 1
        self._literal(text[position:], parts, found)
        found.text = "".join(parts)
        return found

    @staticmethod
    def _literal(text: str, parts: list[str], found: Expansion) -> None:
        if text:
            parts.append(text)
            found.literal.append(text)

    def _resolve(self, body: str, found: Expansion) -> str:
        if body.startswith("file:"):
            written = body.removeprefix("file:")
            location = self.expand(written)
            found.take(location)
            return "" if location.flaws else self._read(self.directory / location.text, written, found)
        name, has_default, default = body.partition(":-")
        if not _NAME.fullmatch(name):
            found.flaws.append(Flaw("this is not a reference", _FORMS))
            return ""
        found.names.append(name)
        value = self.environment.get(name)
        if has_default:
            fallback = self.expand(default)
            found.inline += ["".join(fallback.literal), *fallback.inline]
            if not value:
                found.take(fallback)
                return fallback.text
        if value is None:
            found.flaws.append(Flaw(f"the environment variable `{name}` is not set", self._hint(name)))
            return ""
        return value

    def _hint(self, name: str) -> str:
        if f"{name}_FILE" in self.environment:
            return f"`{name}_FILE` is set: write `${{file:${{{name}_FILE}}}}` to read that file"
        return f"set it, or give a default: `${{{name}:-...}}`"

    @staticmethod
    def _read(path: Path, written: str, found: Expansion) -> str:
        """Messages name the path as `written`: what variables put into it may be nobody's business."""
        found.names.append(f"file {written}")
        found.files.append(path)
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                found.flaws.append(Flaw(f"`{written}` is not a file"))
                return ""
            if status.st_size > FILE_BYTES_MAX:
                found.flaws.append(Flaw(f"`{written}` is larger than {FILE_BYTES_MAX // 1024} KiB"))
                return ""
            text = path.read_bytes().decode()
        except UnicodeDecodeError:
            found.flaws.append(Flaw(f"`{written}` is not UTF-8 text"))
            return ""
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a path"
            found.flaws.append(Flaw(f"`{written}` cannot be read: {reason}", "the path is relative to this file"))
            return ""
        if status.st_mode & stat.S_IROTH:
            hint = f"chmod o-r {written}"
            found.warnings.append(Flaw(f"every user of this machine may read `{written}`", hint))
        return text.rstrip("\r\n")


def _closing(text: str, position: int) -> int:
    """Where the reference that starts before `position` ends, inner references skipped; -1 if it does not."""
    depth = 1
    while position < len(text):
        if text.startswith("${", position):
            depth += 1
            position += 2
            continue
        if text[position] == "}":
            depth -= 1
            if depth == 0:
                return position
        position += 1
    return -1
