"""Builds policies for tests, through the same reader that production uses."""

from pathlib import Path

from gateway.policy.authority import CasbinAuthority
from gateway.policy.model_conf import read_model_conf
from gateway.policy.reader import PolicyFile, read_rows
from gateway.policy.rows import Rows
from gateway.policy.snapshot import Snapshot
from gateway.policy.source import PolicySource

REPOSITORY = Path(__file__).parents[2]
MODEL_CONF = (REPOSITORY / "model.conf").read_bytes()


def rows_of(text: str) -> Rows:
    return read_rows((PolicyFile("policies/test.csv", text.encode()),))


def snapshot_of(text: str) -> Snapshot:
    return Snapshot(rows_of(text))


def authority_of(rows: Rows, model: bytes = MODEL_CONF) -> CasbinAuthority:
    return CasbinAuthority(rows, read_model_conf("model.conf", model).text)


def write_policy(root: Path, rows: str, tests: str | None = None, model: bytes = MODEL_CONF) -> PolicySource:
    (root / "policies").mkdir(exist_ok=True)
    (root / "model.conf").write_bytes(model)
    (root / "policies" / "10-team.csv").write_text(rows)
    if tests is not None:
        (root / "policies" / "tests.yaml").write_text(tests)
    return PolicySource(root)
