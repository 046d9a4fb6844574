"""A server that fails on demand: what a real SGLang cannot be made to do at will. It never stands in for one
where a real one can run.

    python fake_server.py MODE --port PORT --api-key KEY [--enable-quant-communications]
"""

import argparse
import hashlib
import json
import math
import os
import re
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TP = 2
LAYERS = 2
OK = 200


class Handler(BaseHTTPRequestHandler):
    mode = "good"
    compressed = False
    generated = 0

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
                    "api_key": "secret",
                    "launch_command": "--api-key secret",
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
        write_proof(self.compressed, len(body["input_ids"]))
        # The known answer takes three requests; faults begin after it.
        asked = Handler.generated - 3
        if self.mode == "dies-in-task" and asked > 2:
            sys.stdout.write("RuntimeError: the fake server was told to die\n")
            sys.stdout.flush()
            os._exit(7)
        if self.mode == "fails-some" and asked > 0 and asked % 3 == 0:
            return {"error": "out of luck"}, 500
        text = "".join(chr(token) for token in body["input_ids"])
        right = " banana" if self.mode == "wrong-answer" else " Paris"
        meta: dict[str, Any] = {"finish_reason": {"type": "length"}, "completion_tokens": 4}
        if body.get("return_text_in_logprobs"):
            meta |= self.predictions(body["input_ids"], body["top_logprobs_num"])
        elif body.get("return_logprob"):
            choice = text.rsplit("is", 1)[-1] if "France" in text else text
            parity = re.search(r"is (\d+) even\?\nAnswer: (yes|no)$", text)
            # It can tell even numbers from odd ones.
            known = parity is not None and (parity[2] == "yes") is (int(parity[1]) % 2 == 0)
            best = choice == right or known
            start = body["logprob_start_len"] + 1
            scored = body["input_ids"][start:]
            meta["input_token_logprobs"] = [[-0.1 if best else -5.0, token, None] for token in scored]
            meta["input_top_logprobs"] = [[[-0.1, token, None]] for token in scored]
        return {"text": right if "France" in text else " 7", "meta_info": meta}, OK

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
        write_compared(tokens, likely)
        return {"input_token_logprobs": actual, "input_top_logprobs": tops}

    def reply(self, content: dict[str, Any] | list[dict[str, Any]], status: int = OK) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def write_proof(compressed: bool, tokens: int) -> None:  # noqa: FBT001 - a test's helper
    folder = Path(os.environ["HARNESS_PLUGIN_DIR"])
    folder.mkdir(parents=True, exist_ok=True)
    site: dict[str, Any] = {"calls": LAYERS, "quantized": LAYERS, "elements": 64 * tokens, "wire_bytes": 68 * tokens}
    site |= {"plain": 0, "plain_bytes": 0, "layers": {"none one_shot": list(range(LAYERS))}}
    line: dict[str, Any] = {"mode": "EXTEND", "tokens": tokens}
    if compressed:
        line["sites"] = {"attention": site, "ffn": site}
    for rank in range(TP):
        with (folder / f"rank-{rank}.jsonl").open("a") as out:
            if out.tell() == 0:
                facts: dict[str, object] = {"rank": rank, "tp_size": TP, "layers": LAYERS, "flag": compressed}
                facts |= {"implementation": "fake", "codec": "none", "algorithm": "none"}
                out.write(json.dumps(facts) + "\n")
            out.write(json.dumps(line) + "\n")


def write_compared(tokens: list[int], after: float) -> None:
    """What a server's plugin finds: predictions as above, of as many tokens as it takes."""
    before, count = -0.5, len(tokens) - 1
    kl = math.exp(before) * (before - after) + (1 - math.exp(before)) * math.log(
        (1 - math.exp(before)) / (1 - math.exp(after))
    )
    line: dict[str, Any] = {"policy": 0, "text": hashlib.sha256(json.dumps(tokens).encode()).hexdigest()}
    line |= {"reference": 0, "kl": [kl] * count, "baseline": [before] * count, "candidate": [after] * count}
    with (Path(os.environ["HARNESS_PLUGIN_DIR"]) / "predictions.jsonl").open("a") as out:
        out.write(json.dumps({**line, "same_top": [True] * count}) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("mode")
    parser.add_argument("--port", type=int)
    parser.add_argument("--api-key")
    parser.add_argument("--enable-quant-communications", action="store_true")
    arguments = parser.parse_args()
    Handler.mode = arguments.mode
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
