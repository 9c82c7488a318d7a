"""Starts a gateway with the tool server of this folder, lets agent.py work until it is stopped, and ends both.

python examples/mcp_tools/run.py
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
COMPTROLLER = str(Path(sys.executable).parent / "comptroller")
START_TIMEOUT_S = 60


def main() -> int:
    with tempfile.TemporaryDirectory() as books:
        env = {name: value for name, value in os.environ.items() if not name.startswith("COMPTROLLER_")}
        env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
        env |= {
            "BOOKS": f"sqlite:///{books}/mcp-tools.db",
            "COMPTROLLER_ADMIN_TOKEN": new_key(),
            "NOTES_KEY": new_key(),
        }
        said = Path(books) / "said.txt"
        with said.open("wb") as out:
            command = [COMPTROLLER, "serve", "--config", str(HERE / "comptroller.yaml"), "--port", "0"]
            gateway = subprocess.Popen(command, env=env, stdout=out, stderr=out)
        try:
            env["COMPTROLLER_URL"] = address(gateway, said)
            agent = [sys.executable, str(HERE / "agent.py")]
            codes = [subprocess.run(agent, env=env | {"COMPTROLLER_API_KEY": env["NOTES_KEY"]}, check=False).returncode]
            print("== who spent what", flush=True)
            usage = [COMPTROLLER, "usage", "--by", "agent,tool"]
            codes.append(subprocess.run(usage, env=env, check=False).returncode)
            return max(codes)
        finally:
            gateway.send_signal(signal.SIGTERM)
            gateway.wait(timeout=START_TIMEOUT_S)


def new_key() -> str:
    made = subprocess.run([COMPTROLLER, "keys", "generate"], stdout=subprocess.PIPE, text=True, check=True)
    return made.stdout.strip()


def address(gateway: "subprocess.Popen[bytes]", said: Path) -> str:
    deadline = time.monotonic() + START_TIMEOUT_S
    while gateway.poll() is None and time.monotonic() < deadline:
        if found := re.search(r"^Comptroller serves at (\S+)$", said.read_text(), re.MULTILINE):
            return found.group(1)
        time.sleep(0.05)
    raise SystemExit(f"the gateway did not start:\n{said.read_text()}")


if __name__ == "__main__":
    sys.exit(main())
