"""A small server that speaks the protocol, and does wrong what it is told to do wrong."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Write = Callable[[dict[str, Any]], str]


@dataclass
class Server:
    """script: what to do with the first requests, one by one: a status, (status, headers), "drop", "not json", "slow",
    "no choices". Then every request is answered by `write`."""

    write: Write
    script: list[Any] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    usage: bool = True
    finish: str = "stop"
    release: threading.Event = field(default_factory=threading.Event)
    most_at_once: int = 0
    address: str = ""
    at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def questions(self) -> list[str]:
        return [body["messages"][-1]["content"] for body in self.asked]


def echo_error(status: int, headers: dict[str, str]) -> bytes:
    return json.dumps({"error": {"message": f"refused with {status}: {headers.get('authorization')}"}}).encode()


@contextmanager
def serving(write: Write, **options: Any) -> Iterator[Server]:
    server = Server(write, **options)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with server.lock:
                server.asked.append(body)
                server.headers.append({name.lower(): value for name, value in self.headers.items()})
                step = server.script.pop(0) if server.script else None
                server.at_once += 1
                server.most_at_once = max(server.most_at_once, server.at_once)
            try:
                self.answer(body, step)
            except (BrokenPipeError, ConnectionResetError):
                pass
            finally:
                with server.lock:
                    server.at_once -= 1

        def answer(self, body: dict[str, Any], step: Any) -> None:
            if self.path != "/v1/chat/completions":
                self.say(404, b"{}")
            elif step == "drop":
                self.close_connection = True
                self.connection.close()
            elif step == "not json":
                self.say(200, b"<html>busy</html>")
            elif step == "no choices":
                self.say(200, b'{"choices": []}')
            elif isinstance(step, int | tuple):
                status, headers = step if isinstance(step, tuple) else (step, {})
                self.say(status, echo_error(status, server.headers[-1]), headers)
            else:
                if step == "slow":
                    server.release.wait(5)
                choice = {
                    "message": {"role": "assistant", "content": server.write(body)},
                    "finish_reason": server.finish,
                }
                content: dict[str, Any] = {"choices": [choice]}
                if server.usage:
                    content["usage"] = {"prompt_tokens": 100, "completion_tokens": 10}
                self.say(200, json.dumps(content).encode())

        def say(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"content-length": str(len(content)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            pass

    listening = Quiet(("127.0.0.1", 0), Handler)
    server.address = f"http://127.0.0.1:{listening.server_address[1]}/v1"
    thread = threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.release.set()
        listening.shutdown()
        listening.server_close()
        thread.join()
