"""A server that fails on demand: what a real SGLang cannot be made to do at will. It never stands in for one
where a real one can run.

    python fake_server.py MODE --port PORT --config KEY_FILE [--enable-quant-communications]
"""

import argparse
import json
import math
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TP = 2
LAYERS = 2
HIDDEN = 32
OK = 200
WRITING = threading.Lock()
# Whether a rank's log lacks its first line.
IS_NEW: dict[int, bool] = {}


class Handler(BaseHTTPRequestHandler):
    mode = "good"
    compressed = False
    generated = 0
    key = ""

    def log_message(self, *_: object) -> None:
        return

    def do_GET(self) -> None:
        if self.path == "/health":
            self.reply({}, 503 if self.mode == "never-ready" else 200)
        else:
            flag = self.compressed != (self.mode == "wrong-flag")
            info = {"enable_quant_communications": flag, "tp_size": TP, "dtype": "float32"}
            # A real one tells its key twice, and its state.
            self.reply(
                {
                    **info,
                    "api_key": self.key,
                    "launch_command": f"--api-key {self.key}",
                    "startup_time": time.time(),
                }
            )

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        if self.path == "/v1/tokenize":
            self.reply({"tokens": [ord(letter) for letter in body["prompt"]]})
        elif self.path == "/generate":
            self.generate(body)
        else:
            self.reply({})

    def generate(self, body: dict[str, Any]) -> None:
        if isinstance(body["input_ids"][0], int):
            self.reply(*self.answer(body))
            return
        each = [
            self.answer({name: entry[index] if isinstance(entry, list) else entry for name, entry in body.items()})
            for index in range(len(body["input_ids"]))
        ]
        failed = [entry for entry in each if entry[1] != OK]
        self.reply(*(failed[0] if failed else ([content for content, _ in each], OK)))

    def answer(self, body: dict[str, Any]) -> tuple[dict[str, Any], int]:
        Handler.generated += 1
        # The known answer takes three requests; faults begin after it.
        asked = Handler.generated - 3
        # Another's server, behind the port of ours, tells our folder nothing.
        for _ in range({"stranger": 0, "asked-by-others": 2}.get(self.mode, 1) if asked > 0 else 1):
            write_proof(self.compressed, len(body["input_ids"]), late=self.mode == "late-rank")
        if self.mode == "dies-in-task" and asked > 2:
            sys.stdout.write("RuntimeError: the fake server was told to die\n")
            sys.stdout.flush()
            os._exit(7)
        died = Path(os.environ["HARNESS_PLUGIN_DIR"]).with_name("died")
        if self.mode == "dies-once" and asked > 40 and not died.exists():
            died.touch()
            os._exit(7)
        if self.mode == "hangs" and asked > 0:
            time.sleep(600)
        if self.mode == "fails-some" and asked > 0 and asked % 3 == 0:
            return {"error": "out of luck"}, 500
        text = "".join(chr(token) for token in body["input_ids"])
        right = " banana" if self.mode == "wrong-answer" else " Paris"
        meta: dict[str, Any] = {"finish_reason": {"type": "length"}, "completion_tokens": 4}
        meta |= {"prompt_tokens": len(body["input_ids"]), "cached_tokens": 0, "id": body["rid"]}
        if body.get("return_text_in_logprobs"):
            meta |= self.predictions(body["input_ids"], body["top_logprobs_num"])
        elif body.get("return_logprob"):
            choice = text.rsplit("is", 1)[-1] if "France" in text else text
            best = choice == right or text.endswith(" yes")
            start = body["logprob_start_len"] + 1
            scored = body["input_ids"][start:]
            meta["input_token_logprobs"] = [[-0.1 if best else -5.0, token, None] for token in scored]
            meta["input_top_logprobs"] = [[[-0.1, token, None]] for token in scored]
            if self.mode == "no-number" and asked > 0:
                meta["input_token_logprobs"][-1][0] = None
        answer = right if "France" in text else None if self.mode == "null-text" else " 7"
        return {"text": answer, "meta_info": meta}, OK

    def predictions(self, tokens: list[int], top: int) -> dict[str, Any]:
        """The token that follows is the likeliest, less so with compression; the others share what is left."""
        likely = -1.0 if self.compressed else -0.5
        others = math.log((1 - math.exp(likely)) / (2 * top))
        actual: list[list[Any]] = [[None, tokens[0], chr(tokens[0])]]
        tops: list[Any] = [None]
        for token in tokens[1:]:
            actual.append([None if self.mode == "no-number" else likely, token, chr(token)])
            tops.append([[likely, token, chr(token)], *([others, number, "?"] for number in range(1000, 999 + top))])
        if self.mode == "other-tokens":
            actual[-1][1] += 1
        if self.mode == "short-top":
            tops[-1].pop()
        return {"input_token_logprobs": actual, "input_top_logprobs": tops}

    def reply(self, content: dict[str, Any] | list[dict[str, Any]], status: int = OK) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        # Any pause is shorter than a request's timeout, all of them together are not.
        step = 1 if self.mode == "drips" and self.path == "/generate" and Handler.generated > 3 else len(data)
        for start in range(0, len(data), step):
            self.wfile.write(data[start : start + step])
            time.sleep(0.1 if step == 1 else 0)


def write_proof(compressed: bool, tokens: int, *, late: bool) -> None:  # noqa: FBT001 - a test's helper
    folder = Path(os.environ["HARNESS_PLUGIN_DIR"])
    folder.mkdir(parents=True, exist_ok=True)
    elements = LAYERS * HIDDEN * tokens
    site: dict[str, Any] = {"calls": LAYERS, "quantized": LAYERS, "elements": elements, "wire_bytes": 68 * tokens}
    site |= {"plain": 0, "plain_bytes": 0, "layers": {"none one_shot": list(range(LAYERS))}}
    line: dict[str, Any] = {"mode": "EXTEND", "tokens": tokens}
    if compressed:
        line["sites"] = {"attention": site, "ffn": site}
    for rank in range(TP):
        if rank and late:
            threading.Timer(0.3, write_line, (folder, rank, compressed, line)).start()
        else:
            write_line(folder, rank, compressed, line)


def write_line(folder: Path, rank: int, compressed: bool, line: dict[str, Any]) -> None:  # noqa: FBT001 - see above
    with WRITING, (folder / f"rank-{rank}.jsonl").open("a") as out:
        if IS_NEW.get(rank, True):
            IS_NEW[rank] = False
            facts: dict[str, object] = {"rank": rank, "tp_size": TP, "layers": LAYERS, "flag": compressed}
            facts |= {"implementation": "harness.collective", "codec": "none", "algorithm": "one_shot"}
            facts |= {"hidden": HIDDEN, "world_size": TP, "device": "cpu", "sglang": "fake"}
            out.write(json.dumps(facts) + "\n")
        out.write(json.dumps(line) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("mode")
    parser.add_argument("--port", type=int)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--enable-quant-communications", action="store_true")
    arguments = parser.parse_args()
    Handler.mode = arguments.mode
    # As SGLang does: its arguments hold the key before anything else happens.
    Handler.key = arguments.config.read_text().split('"')[1]
    Handler.compressed = arguments.enable_quant_communications
    if arguments.mode == "dies-at-once":
        sys.stdout.write("loading weights\nRuntimeError: no such weights\n")
        sys.exit(3)
    if arguments.mode == "port-taken":
        # As uvicorn words it; SGLang's other processes then keep it from ending.
        sys.stdout.write("ERROR:    [Errno 98] error while attempting to bind on address ('127.0.0.1', 1)\n")
        sys.stdout.flush()
        time.sleep(600)
    if arguments.mode == "leaves-orphans":
        # A grandchild in a session of its own, whose parent is gone: the process group alone would miss it.
        script = "import os, time; os.fork() or (os.setsid(), time.sleep(600))"
        subprocess.run([sys.executable, "-c", script], check=True)
    if arguments.mode == "ignores-sigterm":
        import signal  # noqa: PLC0415

        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    server = ThreadingHTTPServer(("127.0.0.1", arguments.port), Handler)
    sys.stdout.write(f"listening since {time.time()}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
