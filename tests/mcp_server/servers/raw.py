"""A stdio server written by hand on the standard library, of the handshake era, so that it can say anything.

    raw.py [--log FILE] [--bad-tools] [--pages] [--die-at-start]

`--log` gets a line for each notable thing that happened; that is how tests see what reached the server.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

Message = dict[str, Any]
OBJECT = {"type": "object"}
TOOLS = ["echo", "wait", "count_up", "huge", "crash", "environment", "spawn", "add_tool", "ask", "fail", "broken"]


class RawServer:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.tools: list[Any] = [
            {"name": name, "inputSchema": OBJECT, "x-vendor": {"kept": [1, None]}} for name in TOOLS
        ]
        if options.bad_tools:
            self.tools += [
                {"name": "no_schema"},
                {"name": "bad schema", "inputSchema": OBJECT},
                {"name": "typed_wrong", "inputSchema": {"type": 7}},
                {"name": "echo", "inputSchema": OBJECT},
                "no tool at all",
            ]
        self.writing = threading.Lock()
        self.cancelled: dict[Any, threading.Event] = {}
        self.answers: dict[Any, Message] = {}
        self.answered = threading.Condition()

    def log(self, line: str) -> None:
        if self.options.log:
            with Path(self.options.log).open("a", encoding="utf-8") as log:
                log.write(f"{line}\n")

    def send(self, message: Message) -> None:
        with self.writing:
            sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
            sys.stdout.flush()

    def run(self) -> None:
        for line in sys.stdin:
            message = json.loads(line)
            if "method" not in message:
                with self.answered:
                    self.answers[message["id"]] = message
                    self.answered.notify_all()
            elif "id" in message:
                self.cancelled[message["id"]] = threading.Event()
                threading.Thread(target=self.answer, args=(message,), daemon=True).start()
            elif message["method"] == "notifications/cancelled":
                self.log(f"cancelled {message['params'].get('reason', '')}")
                self.cancelled[message["params"]["requestId"]].set()

    def answer(self, message: Message) -> None:
        method, params = message["method"], message.get("params", {})
        if method == "initialize":
            result: Any = {
                "protocolVersion": "2025-06-18",
                "capabilities": {"tools": {"listChanged": True}},
                "serverInfo": {"name": "raw", "version": "0"},
            }
        elif method == "tools/list":
            result = self.page(params)
        elif method == "tools/call":
            self.log(f"call {params['name']} {json.dumps(params.get('_meta', {}), sort_keys=True)}")
            result = self.call(message["id"], params)
        else:
            self.send({"id": message["id"], "error": {"code": -32601, "message": "Method not found"}})
            return
        if result is not None:
            self.send({"id": message["id"], **result} if "error" in result else {"id": message["id"], "result": result})

    def page(self, params: Message) -> Message:
        if not self.options.pages:
            return {"tools": self.tools}
        at = int(params.get("cursor", "0"))
        more = {"nextCursor": str(at + 1)} if at + 1 < len(self.tools) else {}
        return {"tools": self.tools[at : at + 1], **more}

    def call(self, request_id: Any, params: Message) -> Message | None:
        tool = getattr(self, f"tool_{params['name']}", None)
        if tool is None:
            return text(f"this is {params['name']}")
        answer: Message | None = tool(request_id, params, params.get("arguments", {}))
        return answer

    def tool_echo(self, request_id: Any, params: Message, arguments: Message) -> Message:
        return {
            "content": [{"type": "text", "text": "echo", "x-vendor": 1}],
            "structuredContent": arguments,
            "x-vendor": {"deep": [None, 1.5]},
            "_meta": {"vendor/trace": "t", "comptroller/quota": "forged", "io.modelcontextprotocol/x": 1},
        }

    def tool_wait(self, request_id: Any, params: Message, arguments: Message) -> None:
        self.cancelled[request_id].wait(60)

    def tool_count_up(self, request_id: Any, params: Message, arguments: Message) -> Message:
        for step in (1, 2, 2, 3):
            progress = {"progressToken": params["_meta"]["progressToken"], "progress": step, "total": 3}
            self.send({"method": "notifications/progress", "params": {**progress, "message": f"step {step}"}})
        return text("done")

    def tool_huge(self, request_id: Any, params: Message, arguments: Message) -> Message:
        return text("x" * arguments["size"])

    def tool_crash(self, request_id: Any, params: Message, arguments: Message) -> None:
        os._exit(3)

    def tool_environment(self, request_id: Any, params: Message, arguments: Message) -> Message:
        return {"content": [], "structuredContent": {**os.environ, "CWD": str(Path.cwd())}}

    def tool_spawn(self, request_id: Any, params: Message, arguments: Message) -> Message:
        child = subprocess.Popen(["sleep", "600"])
        return text(f"{os.getpid()} {child.pid}")

    def tool_add_tool(self, request_id: Any, params: Message, arguments: Message) -> Message:
        self.tools.append({"name": arguments["name"], "inputSchema": OBJECT})
        self.send({"method": "notifications/tools/list_changed"})
        return text("added")

    def tool_ask(self, request_id: Any, params: Message, arguments: Message) -> Message:
        return text(json.dumps([self.ask(method, {}) for method in ("ping", "elicitation/create", "roots/list")]))

    def tool_fail(self, request_id: Any, params: Message, arguments: Message) -> Message:
        return {"error": {"code": arguments["code"], "message": "no", "data": {"why": 1}}}

    def tool_broken(self, request_id: Any, params: Message, arguments: Message) -> Message:
        return {"content": "not a list"}

    def ask(self, method: str, params: Message) -> Message:
        self.send({"id": method, "method": method, "params": params})
        with self.answered:
            self.answered.wait_for(lambda: method in self.answers, timeout=10)
        answer = self.answers[method]
        return {key: answer[key] for key in ("result", "error") if key in answer}


def text(words: str) -> Message:
    return {"content": [{"type": "text", "text": words}]}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--log")
    parser.add_argument("--bad-tools", action="store_true")
    parser.add_argument("--pages", action="store_true")
    parser.add_argument("--die-at-start", metavar="FILE", help="die while this file exists")
    options = parser.parse_args()
    server = RawServer(options)
    server.log(f"start {os.getpid()}")
    if options.die_at_start and Path(options.die_at_start).exists():
        sys.exit(1)
    server.run()


if __name__ == "__main__":
    main()
