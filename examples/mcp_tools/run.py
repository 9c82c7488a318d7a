"""Starts a gateway with the tool server of this folder, lets agent.py work until it is stopped, and ends both.

python examples/mcp_tools/run.py
"""

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from gateway.core.identity import RANDOM_LENGTH, make_secret

HERE = Path(__file__).resolve().parent
URL = "http://127.0.0.1:8091"
START_TIMEOUT_S = 30


def wait_until_ready(gateway: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while gateway.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{URL}/readyz", timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise SystemExit("the gateway did not start")


def main() -> int:
    key = make_secret(secrets.randbits(RANDOM_LENGTH * 6))
    with tempfile.TemporaryDirectory() as home:
        for name in ("comptroller.yaml", "server.py", "policies"):
            (Path(home) / name).symlink_to(HERE / name)
        env = {**os.environ, "NOTES_KEY": key, "COMPTROLLER_ADMIN_TOKEN": secrets.token_urlsafe(32)}
        env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
        command = [str(Path(sys.executable).parent / "comptroller"), "serve", "--config", "comptroller.yaml"]
        gateway = subprocess.Popen(command, cwd=home, env=env)
        try:
            wait_until_ready(gateway)
            told = {**env, "COMPTROLLER_URL": URL, "COMPTROLLER_API_KEY": key}
            return subprocess.run([sys.executable, str(HERE / "agent.py")], env=told, check=False).returncode
        finally:
            gateway.send_signal(signal.SIGTERM)
            gateway.wait(timeout=START_TIMEOUT_S)


if __name__ == "__main__":
    sys.exit(main())
