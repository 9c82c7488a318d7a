"""python -m benchmarks.runaway [--honest 100] [--at-once 4] [--write]

Plays every runaway shape and so many honest traces against a gateway at its defaults, and prints the table of
docs/loops.md; `--write` puts it there. Exit 1 if a runaway was not stopped or an honest agent was.
"""

import argparse
import asyncio
import secrets
import sys
import tempfile
from pathlib import Path

from benchmarks.processes import Server, free_port, running
from benchmarks.report import write_between_markers
from benchmarks.runaway.gateway_files import write_files
from benchmarks.runaway.honest import HONEST
from benchmarks.runaway.measure import chosen, play_all, spent_usd
from benchmarks.runaway.provider import Provider
from benchmarks.runaway.runaways import RUNAWAYS
from benchmarks.runaway.table import faults, table
from gateway.core.identity import make_secret

PAGE = Path(__file__).parents[2] / "docs" / "loops.md"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--honest", type=int, default=100)
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    key = make_secret(secrets.randbits(192))
    with tempfile.TemporaryDirectory() as held, Provider() as provider:
        directory, port = Path(held), free_port()
        config = write_files(directory, provider.port)
        command = [sys.executable, "-m", "gateway.cli.main", "serve", "--config", str(config), "--port", str(port)]
        environment = {"BENCH_KEY": key, "PYTHONPATH": str(Path(__file__).parents[2])}
        with running(Server(command, port, "/readyz", environment, directory, None)):
            url = f"http://127.0.0.1:{port}"
            lost = asyncio.run(play_all(url, key, chosen(RUNAWAYS, len(RUNAWAYS)), options.at_once))
            honest = asyncio.run(play_all(url, key, chosen(HONEST, options.honest), options.at_once))
        spent = spent_usd(directory / "books.db")
    text = table(lost, honest, spent)
    sys.stdout.write(text + "\n")
    if options.write:
        write_between_markers(PAGE, text)
    wrong = faults(lost, honest)
    sys.stderr.writelines(f"{line}\n" for line in wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
