"""Gateways as processes that are forked from one that has imported everything: a start costs a tenth of a second in
place of a whole one, and there are some hundred in a run of the tests. That the installed command starts by itself is
tested in tests/cli and tests/packaging.

    python -m tests.support.forked FD       # what the tests start: takes orders on this socket
"""

import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

ORDER_BYTES_MAX = 1_000_000
PRELOADED = (
    "gateway.app",
    "gateway.cli.main",
    "gateway.cli.node",
    "gateway.cli.serving",
    "gateway.upstream.http1_client",
)


class Forked:
    """As much of `subprocess.Popen` as tests need."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        output: IO[bytes],
        errors: IO[bytes] | None = None,
    ) -> None:
        """`comptroller` with these arguments; what it says goes to `output`, and if given to `errors`."""
        order = {"arguments": list(arguments), "cwd": str(cwd), "env": dict(env)}
        self.pid: int = _forker().ask(order, output.fileno(), (errors or output).fileno())["pid"]
        self._ends = os.pidfd_open(self.pid)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self._waited(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        code = self._waited(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            signal.pidfd_send_signal(self._ends, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _waited(self, timeout_s: float | None) -> int | None:
        if self.returncode is None and select.select([self._ends], [], [], timeout_s)[0]:
            self.returncode = _forker().ask({"reap": self.pid})["code"]
            os.close(self._ends)
        return self.returncode


class Forker:
    """The process that forks. It ends with the one that made it, and what it forked with it."""

    def __init__(self) -> None:
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            command = [sys.executable, "-m", "tests.support.forked", str(its.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[its.fileno()], stdin=subprocess.DEVNULL)
        self._socket = ours
        self._lock = threading.Lock()

    def ask(self, order: Mapping[str, Any], *descriptors: int) -> dict[str, int]:
        with self._lock:
            socket.send_fds(self._socket, [json.dumps(order).encode()], list(descriptors))
            answer: dict[str, int] = json.loads(self._socket.recv(1_000))
        return answer


@cache
def _forker() -> Forker:
    return Forker()


def _serve(orders: socket.socket) -> list[str]:
    """Takes orders until there are no more; returns in each child, with its arguments."""
    forked: set[int] = set()
    while True:
        said, descriptors, _, _ = socket.recv_fds(orders, ORDER_BYTES_MAX, 2)
        if not said:
            for pid in forked:
                os.kill(pid, signal.SIGKILL)
            os._exit(0)
        order = json.loads(said)
        if "reap" in order:
            _, status = os.waitpid(order["reap"], 0)
            forked.discard(order["reap"])
            answer = {"code": os.waitstatus_to_exitcode(status)}
        else:
            pid = os.fork()
            if pid == 0:
                orders.close()
                return _become(order, *descriptors)
            for descriptor in descriptors:
                os.close(descriptor)
            forked.add(pid)
            answer = {"pid": pid}
        orders.send(json.dumps(answer).encode())


def _become(order: Mapping[str, Any], output: int, errors: int) -> list[str]:
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    os.dup2(output, 1)
    os.dup2(errors, 2)
    os.close(output)
    os.close(errors)
    arguments: list[str] = order["arguments"]
    return arguments


def main() -> None:
    for module in PRELOADED:
        importlib.import_module(module)
    arguments = _serve(socket.socket(fileno=int(sys.argv[1])))
    sys.argv = ["comptroller", *arguments]
    importlib.import_module("gateway.cli.main").main()


if __name__ == "__main__":
    main()
