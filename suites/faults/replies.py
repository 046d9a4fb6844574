"""How a good answer goes out, or does not: slowly, endlessly, in part, as something else."""

import json
import socket
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

OK = 200
FOR_EVER_S = 600
DRIP_S = 0.1
HUGE_BYTES = 300_000_000
CHUNK = b"x" * 65536


class Sending(BaseHTTPRequestHandler):
    """Sends answers, and says nothing of it."""

    def log_message(self, *_: object) -> None:
        return

    def reply(self, content: Any, status: int = OK) -> None:
        self.send([json.dumps(content).encode()], status)

    def send(self, parts: list[bytes], status: int = OK, *, length: int | None = None, pause_s: float = 0) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(sum(map(len, parts)) if length is None else length))
        self.end_headers()
        for part in parts:
            self.wfile.write(part)
            self.wfile.flush()
            time.sleep(pause_s)


def _drip(handler: Sending, content: Any) -> None:
    """No pause is long enough for a timeout between two reads; all of them together are."""
    handler.send([bytes([byte]) for byte in json.dumps(content).encode()], pause_s=DRIP_S)


def _drip_headers(handler: Sending, _content: Any) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nX-Filler: " + b"x" * int(FOR_EVER_S / DRIP_S):
        handler.wfile.write(bytes([byte]))
        handler.wfile.flush()
        time.sleep(DRIP_S)


def _endless(handler: Sending, _content: Any) -> None:
    handler.send_response(OK)
    handler.send_header("Connection", "close")
    handler.end_headers()
    while True:
        handler.wfile.write(CHUNK)


def _huge(handler: Sending, content: Any) -> None:
    """A right answer with 300 MB of text in it."""
    whole = json.dumps(content).encode()
    start = b'{"padding": "'
    handler.send_response(OK)
    handler.send_header("Content-Length", str(len(start) + HUGE_BYTES + len(b'"}') + len(whole)))
    handler.end_headers()
    handler.wfile.write(start)
    for _ in range(0, HUGE_BYTES, len(CHUNK)):
        handler.wfile.write(CHUNK)
    handler.close_connection = True


def _hang(_handler: Sending, _content: Any) -> None:
    time.sleep(FOR_EVER_S)


def _reset(handler: Sending, _content: Any) -> None:
    """End the connection without an answer."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    handler.connection.close()


def _cut(handler: Sending, content: Any) -> None:
    """Half of what was announced, then the end."""
    whole = json.dumps(content).encode()
    handler.send([whole[: len(whole) // 2]], length=len(whole))
    handler.close_connection = True


def _text(text: bytes, status: int = OK) -> Callable[[Sending, Any], None]:
    return lambda handler, _content: handler.send([text], status)


# What becomes of a good answer on its way.
REPLIES: dict[str, Callable[[Sending, Any], None]] = {
    "hangs": _hang,
    "drips": _drip,
    "drips-headers": _drip_headers,
    "endless": _endless,
    "huge": _huge,
    "resets": _reset,
    "cut": _cut,
    "garbage": _text(b"\x00\xff\x1b]0;\x07 garbage"),
    "html": _text(b"<html>Bad Gateway</html>"),
    "empty": _text(b""),
    "deep": _text(b"[" * 100_000),
    "other-object": _text(b"{}"),
    "redirects": _text(b"", 302),
    "gateway": _text(b"\x1b[31m::error::Bad Gateway", 502),
    "no-content": _text(b"", 204),
}
