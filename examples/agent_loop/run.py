"""Starts a gateway on the configuration of this folder, lets both agents run, shows the books, and ends it.

python examples/agent_loop/run.py
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
        env["BOOKS"] = f"sqlite:///{books}/agent-loop.db"
        env["COMPTROLLER_ADMIN_TOKEN"] = new_key()
        env |= {"LIBRARIAN_KEY": new_key(), "PARROT_KEY": new_key()}
        said = Path(books) / "said.txt"
        with said.open("wb") as out:
            command = [COMPTROLLER, "serve", "--config", str(HERE / "comptroller.yaml"), "--port", "0"]
            gateway = subprocess.Popen(command, env=env, stdout=out, stderr=out)
        try:
            env["COMPTROLLER_URL"] = address(gateway, said)
            codes = [let_run(script, env | {"COMPTROLLER_API_KEY": env[key]}) for script, key in AGENTS]
            print("== who spent what", flush=True)
            codes.append(subprocess.run([COMPTROLLER, "usage", "--by", "agent,model"], env=env, check=False).returncode)
            return max(codes)
        finally:
            gateway.send_signal(signal.SIGTERM)
            gateway.wait(timeout=START_TIMEOUT_S)


AGENTS = (("agent.py", "LIBRARIAN_KEY"), ("runaway.py", "PARROT_KEY"))


def let_run(script: str, env: dict[str, str]) -> int:
    print(f"== {script}", flush=True)
    return subprocess.run([sys.executable, str(HERE / script)], env=env, check=False).returncode


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
