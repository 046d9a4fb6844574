"""A server that fails on demand: what a real SGLang cannot be made to do at will. It never stands in for one
where a real one can run.

    python -m suites.faults.server MODE --port PORT --config KEY_FILE [--enable-quant-communications]

MODE is `WHAT` or `WHAT@WHEN`; `env` takes it from FAULTS_MODES, an object of one mode an arm. WHEN is `start` (before
it listens), `known` (at the known answer), `flushN` (at the Nth flush of its cache, which comes before each task) or
a number: from so many answers to tasks on, or with `=` before it at that one alone. WHAT is one of what stands in
`starts.AT_START`, `replies.REPLIES`, `sglang_answers.SPOILED` and `signals.ACTIONS`, or a word below or of
`rank_logs`.
"""

import argparse
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from harness.sglang_plugin.settings import Settings
from suites.faults.rank_logs import TP, Ranks
from suites.faults.replies import FOR_EVER_S, OK, REPLIES, Sending
from suites.faults.sglang_answers import (
    SPOILED,
    Answer,
    answer,
    following,
    is_known,
    is_question,
    is_refused,
    piece,
    tokenize,
)
from suites.faults.signals import ACTIONS, Family
from suites.faults.starts import AT_START

UNAUTHORIZED = 401
BAD_REQUEST = 400
DIES_ONCE_AFTER = 20
SPOILED_TOKENS: dict[str, Any] = {
    "tokens-text": "7",
    "tokens-floats": [1.5],
    "tokens-none": [],
    "tokens-null": None,
}


class Mode:
    """What the server does wrong, and from when on.

    Attributes:
        what: The fault's name.
        when: `start`, `known`, `flushN`, or how many answers to tasks are good.
    """

    def __init__(self, text: str) -> None:
        self.what, _, self.when = text.partition("@")
        self._acted = False

    def reached(self, *, known: bool, asked: int, flushed: int) -> bool:
        """Return whether its moment is there."""
        if self.when == "known":
            return True
        if self.when.startswith("flush"):
            return flushed >= int(self.when.removeprefix("flush"))
        if self.when.startswith("="):
            return not known and asked == int(self.when.removeprefix("="))
        return not known and asked >= int(self.when or 0)

    def acts(self, family: Family) -> None:
        """Do its action, once."""
        if self.what in ACTIONS and not self._acted:
            self._acted = True
            ACTIONS[self.what](family)


class Server(ThreadingHTTPServer):
    """The server and what it knows of itself."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, mode: Mode, *, key: str | None, compressed: bool) -> None:
        self.mode = mode
        self.key = key
        self.compressed = compressed
        self.asked = 0
        self.flushed = 0
        self.family = Family.mine()
        settings = Settings.from_env(os.environ)
        self.ranks = Ranks(settings, flag=compressed, fault=mode.what) if settings else None
        self.lock = threading.Lock()
        self.allow_reuse_port = mode.what == "hands-over"
        super().__init__(("127.0.0.1", port), Handler)

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that went away."""


class Handler(Sending, BaseHTTPRequestHandler):
    server: Server

    def allowed(self) -> bool:
        key = self.server.key
        return key is None or self.headers.get("Authorization") == f"Bearer {key}"

    def do_GET(self) -> None:
        what = self.server.mode.what
        if self.path.startswith("/health"):
            if what == "health-hangs":
                time.sleep(FOR_EVER_S)
            self.reply({}, 503 if what == "never-ready" else OK)
        elif not self.allowed():
            self.reply({"error": "Unauthorized"}, UNAUTHORIZED)
        elif what in {"info-list", "info-garbage", "info-hangs"}:
            if what == "info-hangs":
                time.sleep(FOR_EVER_S)
            self.send([b"[1, 2]" if what == "info-list" else b"<html>"])
        else:
            flag = self.server.compressed != (what == "wrong-flag")
            tp = 3 if what == "wrong-tp" else TP
            info = {"enable_quant_communications": flag, "tp_size": tp, "dtype": "float32"}
            if what == "other-dtype" and flag:
                info["dtype"] = "bfloat16"
            # A real one tells its key twice, and its state.
            key = self.server.key or "secret"
            self.reply({**info, "api_key": key, "launch_command": f"--api-key {key}", "startup_time": time.time()})

    def do_POST(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        if not self.allowed() or (server.mode.what == "refuses-key" and server.asked):
            self.reply({"error": "Unauthorized"}, UNAUTHORIZED)
        elif self.path == "/v1/tokenize":
            asked = body["prompt"]
            found = [self.tokens(text) for text in (asked if isinstance(asked, list) else [asked])]
            if server.mode.what in SPOILED_TOKENS and not any(map(is_known, found)) and server.flushed:
                found = [SPOILED_TOKENS[server.mode.what] for _ in found]
            self.reply({"tokens": found if isinstance(asked, list) else found[0]})
        elif self.path == "/v1/detokenize":
            self.reply({"text": [piece(token) for (token,) in body["tokens"]]})
        elif self.path.startswith("/flush_cache"):
            with server.lock:
                server.flushed += 1
            journal("flush", server.flushed)
            if server.mode.what == "flush-hangs":
                time.sleep(FOR_EVER_S)
            if server.mode.reached(known=False, asked=server.asked, flushed=server.flushed):
                server.mode.acts(server.family)
            self.reply({}, 400 if server.mode.what == "flush-refused" else OK)
        elif self.path == "/generate":
            self.generate(body)
        else:
            self.reply({})

    def tokens(self, text: str) -> list[int]:
        return tokenize(text)

    def generate(self, body: Answer) -> None:
        bodies, several = bodies_of(body)
        mode, server = self.server.mode, self.server
        if mode.what == "refuses-one" and any(map(is_refused, [each["input_ids"] for each in bodies])):
            # As SGLang does it: before anything of the request is computed.
            self.reply({"error": {"message": "one of the prompts is too long"}}, BAD_REQUEST)
            return
        answers: list[Any] = []
        status, any_reached = OK, False
        for each in bodies:
            found, code, reached = self.answer(each)
            any_reached = any_reached or reached
            answers.append(SPOILED[mode.what](found) if reached and mode.what in SPOILED else found)
            status = max(status, code)
        if any_reached:
            if mode.what == "slow":
                time.sleep(0.3)
            if several and mode.what == "fewer":
                answers.pop()
            if several and mode.what == "other-order":
                answers.reverse()
            mode.acts(server.family)
            if mode.what in REPLIES:
                REPLIES[mode.what](self, answers if several else answers[0])
                return
        self.reply({"error": "out of luck"} if status != OK else answers if several else answers[0], status)
        journal("answered", server.asked)
        if any_reached and mode.what == "hands-over":
            journal("handed over", server.server_port)
            time.sleep(0.5)
            os._exit(7)

    def answer(self, body: Answer) -> tuple[Answer, int, bool]:
        server, mode = self.server, self.server.mode
        known = not is_question(body)
        with server.lock:
            server.asked += not known
            asked = server.asked
        reached = mode.reached(known=known, asked=asked, flushed=server.flushed)
        if mode.what == "dies-in-task" and not known and asked > int(mode.when or 2):
            sys.stdout.write("RuntimeError: the fake server was told to die\n")
            sys.stdout.flush()
            os._exit(7)
        if mode.what == "dies-once" and asked > DIES_ONCE_AFTER and not _died_before():
            os._exit(7)
        if mode.what == "fails-some" and not known and asked % 3 == 0:
            return {}, 500, reached
        found = answer(body, mode=mode.what)
        if server.ranks:
            # Another's server, behind the port of ours, tells our folder nothing.
            for _ in range(1 if known else {"stranger": 0, "asked-by-others": 2}.get(mode.what, 1)):
                server.ranks.answered(len(body["input_ids"]), found["meta_info"]["completion_tokens"])
            server.ranks.predicted(body["input_ids"], following(compressed=server.compressed, mode=mode.what))
        return found, 500 if mode.what == "fails-all" and reached else OK, reached


def bodies_of(body: Answer) -> tuple[list[Answer], bool]:
    """Return the requests that one is made of, and whether it is of several."""
    if isinstance(body["input_ids"][0], int):
        return [body], False
    return [
        {name: entry[index] if isinstance(entry, list) else entry for name, entry in body.items()}
        for index in range(len(body["input_ids"]))
    ], True


def _died_before() -> bool:
    """Return whether a server of this arm died before; note that one does."""
    note = Path(os.environ["HARNESS_PLUGIN_DIR"]).with_name("died")
    if note.exists():
        return True
    note.touch()
    return False


def arm() -> str:
    """Return the name of the arm whose server this is; empty for a stranger."""
    folder = os.environ.get("HARNESS_PLUGIN_DIR")
    return Path(folder).parent.name if folder else ""


def journal(event: str, number: int = 0) -> None:
    """Tell whoever watches, in the file that FAULTS_JOURNAL names."""
    if file := os.environ.get("FAULTS_JOURNAL"):
        line = json.dumps({"arm": arm(), "event": event, "number": number, "time": time.time()}) + "\n"
        with Path(file).open("a", encoding="utf-8") as out:
            out.write(line)


def key_of(file: str | None) -> str | None:
    """Return the key that SGLang's own file of options holds."""
    lines = Path(file).read_text(encoding="utf-8").splitlines() if file else []
    found = (line.partition(":") for line in lines)
    return next(
        (text.strip().strip("'\"") for name, _, text in found if name.strip() in {"api-key", "api_key"}), None
    )


def main() -> None:
    """Serve until killed, or fail as told."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("mode")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--api-key")
    parser.add_argument("--config")
    parser.add_argument("--enable-quant-communications", action="store_true")
    arguments, _ = parser.parse_known_args()
    modes = json.loads(os.environ.get("FAULTS_MODES", "{}"))
    mode = Mode(modes.get(arm(), "good") if arguments.mode == "env" else arguments.mode)
    key = arguments.api_key or key_of(arguments.config)
    if settings := Settings.from_env(os.environ):
        settings.wait_to_go()
    journal("started", os.getpid())
    journal("key in a command line", int(Family.mine().key_is_seen(key)))
    if mode.when == "start":
        mode.acts(Family.mine())
    if mode.what in AT_START:
        AT_START[mode.what]()
    server = Server(arguments.port, mode, key=key, compressed=arguments.enable_quant_communications)
    sys.stdout.write(f"listening since {time.time()}\n")
    sys.stdout.flush()
    journal("listens")
    server.serve_forever()


if __name__ == "__main__":
    main()
