"""A stand-in for `lorafit serve`, started as a process: it loads nothing and says what it was asked.

It answers as the server does (token, models, adapters, a stream). Asked "how", the answer is its arguments; "fail", an
error in the stream; "long", a word every 20 ms until the client goes away, which it then notes in `gone` beside it.
A base named `broken` does not start.
"""

from __future__ import annotations

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ARGUMENTS = sys.argv[1:]
MODELS = ["first", *(each.partition("=")[0] for each in ARGUMENTS if each.startswith("run-"))]


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass

    def reply(self, content: Any, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, message: str, status: int) -> None:
        self.reply({"error": {"message": message}}, status)

    def allowed(self) -> bool:
        allowed = self.headers["Authorization"] == f"Bearer {os.environ['LORAFIT_TOKEN']}"
        if not allowed:
            self.refuse("The token is wrong.", 401)
        return allowed

    def do_GET(self) -> None:
        if self.allowed():
            self.reply({"data": [{"id": name} for name in MODELS]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.allowed():
            return
        if self.path == "/v1/adapters":
            MODELS.append(body["name"])
            self.reply({"id": body["name"]})
        elif body["model"] not in MODELS:
            self.refuse(f"There is no model {body['model']!r} here", 404)
        else:
            self.send_response(200)
            self.end_headers()
            self.stream(body)

    def event(self, content: Any) -> None:
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        self.wfile.write(f"data: {text}\n\n".encode())
        self.wfile.flush()

    def piece(self, text: str, reason: str | None = None) -> None:
        self.event({"choices": [{"delta": {"content": text} if text else {}, "finish_reason": reason}]})

    def stream(self, body: dict[str, Any]) -> None:
        asked = body["messages"][-1]["content"]
        if asked == "fail":
            self.event({"error": {"message": "It went wrong."}})
            return
        try:
            while asked == "long":
                self.piece("word ")
                time.sleep(0.02)
        except OSError:
            Path("gone").touch()
            return
        self.piece(json.dumps([ARGUMENTS, MODELS, body["model"]]) if asked == "how" else f"{asked}\u2028\x85")
        self.piece("", "length")
        self.event({"choices": [], "usage": {"completion_tokens": 7}})
        self.event("[DONE]")


if "--base=broken" in ARGUMENTS:
    sys.exit("error: there is no model broken")
with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
    print("loading it ...", flush=True)
    time.sleep(0.3)
    print(f"serving on http://127.0.0.1:{server.server_port}/v1 (Ctrl-C ends it)", flush=True)
    server.serve_forever()
