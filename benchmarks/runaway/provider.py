"""A provider in the OpenAI chat format that answers what the request's `metadata.reply` tells it to. Its usage is that
of text: four bytes a token."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class Provider(ThreadingHTTPServer):
    """`with Provider() as provider:` serves on `provider.port` from a thread of its own."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.port = int(self.server_address[1])
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["content-length"]))
        body = json.loads(raw)
        reply = json.loads(body["metadata"]["reply"])
        if reply["status"] != 200:
            self._send(
                reply["status"], "application/json", b'{"error": {"message": "scripted", "type": "server_error"}}'
            )
            return
        calls = [
            {"index": n, "id": at, "type": "function", "function": {"name": name, "arguments": arguments}}
            for n, (at, name, arguments) in enumerate(reply["calls"])
        ]
        message: dict[str, Any] = {"role": "assistant", "content": reply["text"]}
        if calls:
            message["tool_calls"] = calls
        # The reply travels with the request here, and a provider would not be paid for reading it.
        prompt = (len(raw) - len(body["metadata"]["reply"])) // 4
        output = len(json.dumps(message)) // 4
        usage = {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}
        base = {"id": "chatcmpl-scripted", "created": 1, "model": body["model"]}
        finish = "tool_calls" if calls else "stop"
        if not body.get("stream"):
            choice = {"index": 0, "message": message, "finish_reason": finish}
            whole = {**base, "object": "chat.completion", "choices": [choice], "usage": usage}
            self._send(200, "application/json", json.dumps(whole).encode())
            return
        chunks: list[dict[str, Any]] = [
            {"choices": [{"index": 0, "delta": message, "finish_reason": None}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]},
            {"choices": [], "usage": usage},
        ]
        events = [json.dumps({**base, "object": "chat.completion.chunk", **chunk}) for chunk in chunks]
        self._send(200, "text/event-stream", "".join(f"data: {event}\n\n" for event in [*events, "[DONE]"]).encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Nothing: a measurement has its own report."""
