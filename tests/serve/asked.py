"""A server that answers on demand and keeps what it was asked."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "0123abc"
DONE = {"finish_reason": {"type": "stop"}, "completion_tokens": 2}
Body = dict[str, Any]
Answer = Callable[[Body], Any]


class Asked:
    """A server on a port of its own, and what it was asked.

    Attributes:
        answer: What it says to a request's body; an int is an HTTP status, a text goes out as it is.
        requests: Method, path and body of each request.
        keys: The key each came with.
        pause_s: Where not 0, an answer goes out in pieces with such pauses between them.
    """

    def __init__(self) -> None:
        self.answer: Answer = lambda _body: {}
        self.requests: list[tuple[str, str, Body]] = []
        self.keys: list[str | None] = []
        self.pause_s = 0.0
        asked = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                return

            def do_GET(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
                asked.requests.append((self.command, self.path, body))
                asked.keys.append(self.headers.get("Authorization"))
                answer = with_tokens(asked.answer(body), body)
                status, answer = (answer, {"why": "told to fail"}) if isinstance(answer, int) else (200, answer)
                content = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if not asked.pause_s:
                    self.wfile.write(content)
                    return
                with suppress(OSError):  # the client may have gone
                    for start in range(0, len(content), 10):
                        self.wfile.write(content[start : start + 10])
                        self.wfile.flush()
                        time.sleep(asked.pause_s)

            do_POST = do_GET  # noqa: N815 - the base class's name

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def bodies(self) -> list[Body]:
        return [body for _method, _path, body in self.requests]


def with_tokens(answer: Any, body: Body) -> Any:
    """Say of each prompt how many tokens it has, where the answer says nothing of it."""
    answers = answer if isinstance(answer, list) else [answer]
    prompts = body.get("input_ids", [])
    for entry, prompt in zip(answers, prompts if isinstance(answer, list) else [prompts], strict=False):
        if isinstance(entry, dict) and entry.get("meta_info"):
            usual = {"prompt_tokens": len(prompt), "cached_tokens": 0}
            entry["meta_info"] = {**usual, **entry["meta_info"]}
    return answer


def generated(text: str, **meta: Any) -> Body:
    return {"text": text, "meta_info": {**DONE, **meta}}
