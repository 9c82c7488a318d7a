"""What `comptroller init` writes: never over a file that is there."""

import secrets
import shlex
import stat
from pathlib import Path

from gateway.cli.output import OK, USAGE, fail, print_json, say
from gateway.settings.sample import sample_yaml

DEFAULTS = Path(__file__).parent.parent / "defaults"
TOKEN_FILE = "var/admin.token"
IGNORED = ".gitignore"
_PRIVATE_DIRECTORY = 0o700
_PRIVATE_FILE = 0o600


def run(directory: Path, *, as_json: bool) -> int:
    """Returns the exit code."""
    files = {Path("comptroller.yaml"): _config(), Path("model.conf"): (DEFAULTS / "model.conf").read_text("utf-8")}
    for path in sorted((DEFAULTS / "policies").iterdir()):
        if path.is_file():
            files[Path("policies") / path.name] = path.read_text("utf-8")
    there = [str(path) for path in (*files, Path(TOKEN_FILE)) if (directory / path).exists()]
    if there:
        fail(f"{directory} already has {', '.join(there)}; nothing was written", USAGE)
    try:
        for path, content in files.items():
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            (directory / path).write_text(content, encoding="utf-8")
        _write_token(directory / TOKEN_FILE)
        if not (directory / IGNORED).exists():
            (directory / IGNORED).write_text("# books, their key and the admin token\n/var/\n", encoding="utf-8")
            files[Path(IGNORED)] = ""
    except OSError as error:
        fail(f"{error.filename or directory} cannot be written: {error.strerror}", USAGE)
    written = [str(directory / name) for name in (*files, Path(TOKEN_FILE))]
    if as_json:
        print_json({"written": written})
        return OK
    for name in written:
        say(f"wrote {name}")
    where = "" if directory == Path() else f"  cd {shlex.quote(str(directory))}\n"
    say(f"\nNow:\n{where}  comptroller check\n  comptroller serve")
    say("\nIn a second terminal, in the same directory:")
    say("  comptroller keys create --user alice --agent reviewer")
    return OK


def _config() -> str:
    """The sample, with the admin token in a file of its own, so that it runs at once and holds no secret."""
    lines = sample_yaml().splitlines(keepends=True)
    changed = [
        f'  token: "${{file:{TOKEN_FILE}}}"    # readable by you alone; commands run here find it\n'
        if line.lstrip().startswith("token:")
        else line
        for line in lines
    ]
    return "".join(changed)


def _write_token(path: Path) -> None:
    path.parent.mkdir(mode=_PRIVATE_DIRECTORY, exist_ok=True)
    path.touch(mode=_PRIVATE_FILE, exist_ok=False)
    path.chmod(stat.S_IRUSR | stat.S_IWUSR)
    path.write_text(f"cptr_admin_{secrets.token_urlsafe(32)}\n", encoding="utf-8")
