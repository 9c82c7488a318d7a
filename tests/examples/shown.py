"""Commands that a document shows, as a reader would run them: the `sh` blocks under a `<!-- run -->` line."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.tidy.tree import ROOT

_BLOCK = re.compile(r"^<!-- (run(?: [a-z]+)?) -->\n```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TIMEOUT_S = 100


def blocks(document: str) -> list[tuple[str, str]]:
    """(mark, commands) of every runnable block, in order."""
    return _BLOCK.findall((ROOT / document).read_text(encoding="utf-8"))


def environment(home: Path) -> dict[str, str]:
    """A user who has activated the environment and has nothing else: a home that is empty, no key of any provider."""
    home.mkdir(exist_ok=True)
    ours = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("COMPTROLLER_", "OPENAI_", "ANTHROPIC_", "PYTEST_", "MAKE"))
    }
    tools = str(Path(sys.executable).parent)
    return {**ours, "HOME": str(home), "PATH": f"{tools}{os.pathsep}{ours['PATH']}"}


def run_block(document: str, home: Path) -> str:
    """Runs the one runnable block of an example's README from the top of the repository; what it printed."""
    ((_, commands),) = blocks(document)
    done = subprocess.run(
        ["sh", "-eu", "-c", commands],
        cwd=ROOT,
        env=environment(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"
    return done.stdout
