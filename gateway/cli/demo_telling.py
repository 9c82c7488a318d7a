"""How the demo speaks: short paragraphs, colours on a terminal, plain lines elsewhere; NO_COLOR holds."""

import os
import shutil
import sys
import textwrap

from rich.console import Console
from rich.text import Text

from gateway.cli.demo_scenes import Kind, Part, Scene
from gateway.cli.output import printable

WIDTH_MAX = 100
INDENT = "   "
STYLES = ((Kind.SAY, ""), (Kind.QUOTE, "yellow"), (Kind.VERBATIM, "cyan"))


class Teller:
    """Says nothing at all if `silent`: then the story is told as JSON."""

    def __init__(self, *, silent: bool) -> None:
        self.silent = silent
        self._width = min(WIDTH_MAX, shutil.get_terminal_size((WIDTH_MAX, 24)).columns)
        self._console = Console(no_color="NO_COLOR" in os.environ, highlight=False) if sys.stdout.isatty() else None

    def heading(self, text: str) -> None:
        self.line(text, "bold")

    def paragraph(self, text: str) -> None:
        for line in textwrap.wrap(text, self._width, break_long_words=False, break_on_hyphens=False):
            self.line(line)

    def scene(self, number: int, scene: Scene) -> None:
        self.line()
        self.heading(f"{number}. {scene.title}")
        for part in scene.told:
            self._part(part)

    def line(self, text: str = "", style: str = "") -> None:
        if self.silent:
            return
        shown = printable(text)
        if self._console is None:
            print(shown, flush=True)
        else:
            self._console.print(Text(shown, style), soft_wrap=True)

    def _part(self, part: Part) -> None:
        style = dict(STYLES)[part.kind]
        if part.kind is Kind.VERBATIM:
            for line in part.text.splitlines():
                self.line(f"{INDENT}   {line}", style)
            return
        indent = INDENT + ("| " if part.kind is Kind.QUOTE else "")
        width = self._width - len(indent)
        for line in textwrap.wrap(part.text, width, break_long_words=False, break_on_hyphens=False):
            self.line(indent + line, style)
