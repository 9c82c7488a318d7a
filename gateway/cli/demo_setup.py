"""The directory in which `comptroller demo` runs its gateway: a configuration, a policy, secrets made for this run."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.cli.output import USAGE, fail
from gateway.core.identity import make_secret

HERE = Path(__file__).parent
SOURCE = HERE / "demo_files"
FILES = ("comptroller.yaml", "policies/10-demo.csv", "policies/tests.yaml")
AGENTS = ("writer", "watcher", "researcher", "trainee")
RANDOM_BITS = 192
_PRIVATE_DIRECTORY = 0o700
_PRIVATE_FILE = 0o600


@dataclass(frozen=True, slots=True)
class Ground:
    """`keys`: the secret of each agent's virtual key."""

    directory: Path
    admin_token: str
    keys: Mapping[str, str]

    @property
    def config(self) -> Path:
        return self.directory / "comptroller.yaml"

    @property
    def log(self) -> Path:
        return self.directory / "var" / "gateway.log"


def lay_out(directory: Path) -> Ground:
    """Writes the files; ends the command rather than write over what is there."""
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        fail(f"{directory} is there and not empty; nothing was written", USAGE)
    ground = Ground(
        directory,
        f"cptr_admin_{secrets.token_urlsafe(32)}",
        {name: make_secret(secrets.randbits(RANDOM_BITS)) for name in AGENTS},
    )
    try:
        _write(ground)
    except OSError as error:
        fail(f"{error.filename or directory} cannot be written: {error.strerror}", USAGE)
    return ground


def _write(ground: Ground) -> None:
    directory = ground.directory
    (directory / "policies").mkdir(parents=True, exist_ok=True)
    for name in FILES:
        (directory / name).write_text((SOURCE / name).read_text("utf-8"), encoding="utf-8")
    (directory / "model.conf").write_text((HERE.parent / "defaults" / "model.conf").read_text("utf-8"), "utf-8")
    for folder in ("var", "var/keys"):
        (directory / folder).mkdir(mode=_PRIVATE_DIRECTORY)
    _write_private(directory / "var" / "admin.token", ground.admin_token)
    for name, secret in ground.keys.items():
        _write_private(directory / "var" / "keys" / name, secret)


def _write_private(path: Path, secret: str) -> None:
    path.touch(mode=_PRIVATE_FILE, exist_ok=False)
    path.write_text(f"{secret}\n", encoding="utf-8")
