"""A real receiver of webhooks in a process of its own. It writes down what came, and behaves as a file tells it to.

python -m tests.support.alert_receiver DIRECTORY PORT      # prints the port; ends when standard input closes

DIRECTORY/requests.jsonl gets a line for each request: path, headers (lower case), body (text), at_us.
DIRECTORY/behaviour.json, read at each request: status (200), headers, wait_s (before the answer).
"""

import json
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]


class Receiver:
    """The process, for tests. `stop` and `start` make the receiver go away and come back at the same address."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(exist_ok=True)
        self.port = 0
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *args: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.alert_receiver", str(self.directory), str(self.port)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def stop(self) -> None:
        if self._process is None:
            return
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._process.wait(timeout=10)
        self._process = None

    def behave(self, **behaviour: Any) -> None:
        (self.directory / "behaviour.json").write_text(json.dumps(behaviour))

    def requests(self) -> list[dict[str, Any]]:
        path = self.directory / "requests.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def alerts(self, kind: str) -> list[dict[str, Any]]:
        """The documents of one kind that came by the webhook."""
        documents = [json.loads(request["body"]) for request in self.requests() if request["path"] == "/hook"]
        return [document for document in documents if document.get("type") == kind]


def serve(directory: Path, port: int) -> None:
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
            headers = {name.lower(): value for name, value in self.headers.items()}
            entry = {"path": self.path, "headers": headers, "body": body, "at_us": time.time_ns() // 1000}
            with lock, (directory / "requests.jsonl").open("a") as log:
                log.write(json.dumps(entry) + "\n")
            told = directory / "behaviour.json"
            behaviour = json.loads(told.read_text()) if told.exists() else {}
            time.sleep(behaviour.get("wait_s", 0))
            self.send_response(behaviour.get("status", 200))
            for name, value in behaviour.get("headers", {}).items():
                self.send_header(name, value)
            self.send_header("content-length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *args: Any) -> None:
            pass

    ThreadingHTTPServer.daemon_threads = True
    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        print(server.server_address[1], flush=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdin.read()
        server.shutdown()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
