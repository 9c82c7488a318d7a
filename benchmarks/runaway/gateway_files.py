"""The configuration of the gateway that the agents run against: everything about loops is at its default."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any, Final

OUR_MODEL = Path(__file__).parents[2] / "model.conf"
DESK = (sys.executable, str(Path(__file__).parent / "desk.py"))
PRICE: Final = {"input_usd_per_mtok": 1.25, "output_usd_per_mtok": 10}
"""As a usual model costs."""

MANY = 1_000_000


def write_files(directory: Path, provider_port: int, **sections: Any) -> Path:
    """Fills `directory`. The key is read from `BENCH_KEY` when the gateway starts."""
    policies = directory / "policies"
    policies.mkdir(parents=True)
    shutil.copy(OUR_MODEL, directory / "model.conf")
    rows = [f"p, role:everyone, *, *, {action}, , allow" for action in ("model:invoke", "tool:list", "tool:call")]
    (policies / "bench.csv").write_text("\n".join([*rows, "", f"# rows: {len(rows)}", ""]))
    expected = [{"as": {"user": "bench"}, "model": "thinker", "expect": "allow", "because": "it is measured"}]
    (policies / "tests.yaml").write_text(json.dumps(expected))
    config: dict[str, Any] = {
        "storage": {"url": f"sqlite:///{directory / 'books.db'}"},
        "policy": {"model": "model.conf", "files": ["policies/"]},
        "providers": {
            "scripted": {
                "kind": "openai_compatible",
                "base_url": f"http://127.0.0.1:{provider_port}/v1",
                "api_key": "${BENCH_UPSTREAM_KEY:-none}",
            }
        },
        "models": {name: {"provider": "scripted", "price": PRICE} for name in ("thinker", "cheap")},
        "keys": [{"name": "bench", "user": "bench", "agent": "bench", "secret": "${BENCH_KEY}"}],
        "sessions": {"max_new_per_hour": MANY},
        "limits": [{"name": "session-usd", "each": "session", "usd": 5}],
        "mcp": {"servers": {"desk": {"transport": "stdio", "command": list(DESK), "price_usd_per_call": 0.001}}},
        **sections,
    }
    path = directory / "comptroller.yaml"
    path.write_text(json.dumps(config, indent=1))  # JSON is YAML too
    return path
