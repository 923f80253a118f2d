"""A small OpenAI server to attach to: server_stand_in.py PORT. It answers at once, whatever it is asked."""

import http.server
import json
import sys
from typing import Any

from bench.product.abuse.payloads import MODEL

EVENTS = (
    b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":"a scene"}}]}\n\n'
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}\n\n'
    b"data: [DONE]\n\n"
)
DOCUMENTS = {"/v1/models": {"object": "list", "data": [{"id": MODEL, "max_model_len": 4096}]}, "/health": {}}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        known = self.path in DOCUMENTS
        document = DOCUMENTS.get(self.path, {"detail": "Not Found"})
        self._answer(json.dumps(document).encode(), "application/json", 200 if known else 404)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        known = self.path == "/v1/chat/completions"
        kind = "text/event-stream" if known else "application/json"
        self._answer(EVENTS if known else b'{"detail": "Not Found"}', kind, 200 if known else 404)

    def do_DELETE(self) -> None:
        self._answer(b'{"detail": "Not Found"}', "application/json", 404)

    do_HEAD = do_GET

    def _answer(self, body: bytes, kind: str, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
