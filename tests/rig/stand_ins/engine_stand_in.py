"""A program in the place of vLLM that fails on command, as the real one cannot be made to.

engine_stand_in.py SOCKET MODE…   modes: serve, slow, die-loading, out-of-memory, killed, deaf, orphan, endless-line,
                              stuck (answers one request and no more), mute (never ready),
                              never-opens (its core is ready, and it does not answer),
                              name=NAME (as vLLM, serves that model only and says so), lazy (thinks for a second)
"""

import http.server
import json
import os
import signal
import socketserver
import subprocess
import sys
import time
from typing import Any

CHUNKS = (
    b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":"a scene"}}]}\n\n'
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}\n\n'
    b"data: [DONE]\n\n"
)


class Handler(http.server.BaseHTTPRequestHandler):
    requests = 0

    def do_GET(self) -> None:
        running = max(0, Handler.requests - 1)
        page = f'vllm:num_requests_running{{engine="0"}} {running}.0\nvllm:generation_tokens_total{{engine="0"}} 2.0\n'
        self._answer(page.encode() if self.path == "/metrics" else b"", "text/plain")

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Handler.requests += "stuck" in sys.argv
        if Handler.requests > 1:
            time.sleep(600)
        name = next((word.removeprefix("name=") for word in sys.argv if word.startswith("name=")), None)
        if name is not None and request.get("model", name) != name:
            self._answer(json.dumps({"error": {"message": "no such model"}}).encode(), "application/json", 404)
            return
        if "lazy" in sys.argv:
            time.sleep(1)
        self._answer(CHUNKS.replace(b"a scene", (name or "a scene").encode()), "text/event-stream")

    def _answer(self, body: bytes, kind: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def main() -> None:
    path, modes = sys.argv[1], set(sys.argv[2:])
    if "deaf" in modes:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "orphan" in modes:  # a child in a session of its own, as a worker that outlives its parent
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    if "endless-line" in modes:
        sys.stdout.write("x" * 10_000_000)
    print("INFO Starting to load model /models/fake...", flush=True)
    if "slow" in modes:
        time.sleep(3)
    print("Loading safetensors checkpoint shards:  50% Completed | 1/2 [00:00<00:00]", end="\r", flush=True)
    if "mute" in modes:
        time.sleep(600)
    if "never-opens" in modes:
        print("INFO Supported tasks: ['generate']", flush=True)
        time.sleep(600)
    if "die-loading" in modes:
        print("ValueError: the surprise of the day", flush=True)
        print("RuntimeError: Engine core initialization failed. See root cause above.", flush=True)
        sys.exit(1)
    if "out-of-memory" in modes:
        print("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 512.00 MiB.", flush=True)
        sys.exit(1)
    if "killed" in modes:
        os.kill(os.getpid(), signal.SIGKILL)
    print("INFO:     Application startup complete.", flush=True)
    socketserver.ThreadingUnixStreamServer(path, Handler).serve_forever()


if __name__ == "__main__":
    main()
