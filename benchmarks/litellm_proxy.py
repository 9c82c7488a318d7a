"""The LiteLLM proxy as a lane: pinned, from the package index, in an environment of its own, no database, no limits."""

import json
import subprocess
import sys
from pathlib import Path

VERSION = "1.106.0"
ENVIRONMENT = Path(__file__).parent / "results" / "venv-litellm"


def lacks() -> str | None:
    """Installs it at the first use, which takes a minute; what stands in the way is the answer."""
    if _installed():
        return None
    print(f"installing litellm[proxy]=={VERSION} into an environment of its own, once ...", file=sys.stderr, flush=True)
    ENVIRONMENT.parent.mkdir(exist_ok=True)
    pip = [str(ENVIRONMENT / "bin" / "pip"), "--disable-pip-version-check", "install", "--quiet"]
    for step in ([sys.executable, "-m", "venv", str(ENVIRONMENT)], [*pip, f"litellm[proxy]=={VERSION}"]):
        done = subprocess.run(step, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900, check=False)
        if done.returncode:
            return f"it could not be installed: {done.stderr.strip()[-300:]}"
    return None


def _installed() -> bool:
    return any(ENVIRONMENT.glob(f"lib/python*/site-packages/litellm-{VERSION}.dist-info"))


def command(directory: Path, upstream_port: int, port: int) -> tuple[list[str], dict[str, str]]:
    """The command and its environment; every model of the mock passes through."""
    upstream = {"model": "openai/*", "api_base": f"http://127.0.0.1:{upstream_port}/v1", "api_key": "none"}
    config = directory / "litellm.yaml"
    config.write_text(json.dumps({"model_list": [{"model_name": "*", "litellm_params": upstream}]}))
    program = str(ENVIRONMENT / "bin" / "litellm")
    start = [program, "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    environment = {
        "LITELLM_LOG": "ERROR",
        # Its price list comes with the package; without this it is fetched at start.
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        # It listens on the loopback only, and checking a key would count against it.
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
    }
    return [*start, "--telemetry", "False"], environment
