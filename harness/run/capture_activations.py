"""Real activations for the numerical suite: one prompt through a server on the CPU, its messages kept by the plugin.

    python -m harness.run.capture_activations --out FILE

Run by the harness's own interpreter, with the variables that nox sets. The server is the default suite's, with the
flag on and the codec `none` behind it: the messages are those of an uncompressed model, and they come through the
entries that the plugin hooks. `harness.collective.activations` describes the file: SmolLM2-135M at TP 2, 60 sums of
some 300 tokens, fp32.
"""

import argparse
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from harness.config.load import load
from harness.config.suite import Compression, LiveCheckOptions
from harness.errors import HarnessError
from harness.places import model_place
from harness.plan.arms import make_arm
from harness.plan.options import Options
from harness.plan.plan import COMPRESSED
from harness.records.run_folder import RunFolder
from harness.serve.answers import RequestFailed
from harness.serve.server import Start, running

SUITE = "smollm2-cpu"
# Nothing is measured here: a busy machine may take its time.
START_TIMEOUT_S = 900
PROMPT = """\
A lighthouse keeper on a small island wrote down the weather every morning for forty-one years. On most days there was
little to say: "Wind from the west, some rain, two boats." But on 3 March 1887 he filled four pages. A ship with 112
passengers had lost its rudder in the night and drifted towards the rocks. The keeper lit every lamp he had, climbed
down to the shore with a rope of 60 metres, and tied one end to an iron ring in the cliff. By six o'clock he and his
daughter had pulled seventeen people out of the water; by noon, when the storm grew weaker, all the others had come
ashore in three small boats. "Nobody was lost," he wrote, "except a goat, which was seen again on Thursday."

Question: How many people did the boats bring ashore?
Answer: There were 112 passengers, and 112 - 17 = 95 of them came in boats. The answer is 95.

def mean(values):
    total = 0.0
    for value in values:
        total += value
    return total / len(values)

The same in other words: Un gardien de phare sauva cent douze personnes. Ein Leuchtturmwärter rettete alle.
"""


def capture(out: Path, *, server_python: Path, plugin_path: Path) -> None:
    """Start the server, send the prompt, and end it; the file is there whole or not at all.

    Args:
        out: The file.
        server_python: The interpreter that has SGLang.
        plugin_path: The folder that carries the plugin's entry point.

    Raises:
        HarnessError: The server did not come up or answer, or the plugin captured nothing.
    """
    suite, _ = load(SUITE)
    plainly = Compression(codec="none", live_check=LiveCheckOptions(every=0))
    suite = suite.model_copy(update={"compression": plainly})
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = RunFolder(Path(name))
        options = Options(suite=SUITE, server_python=server_python, plugin_path=plugin_path)
        model = model_place(suite.model.path)
        arm = make_arm(COMPRESSED, suite, options, model_path=model, python=server_python, folder=folder)
        captured = replace(arm.settings, capture=out.absolute())
        arm = arm.model_copy(update={"env": {**arm.env, **captured.env()}})
        start = Start(
            tp=suite.server.tp,
            known_answer=suite.known_answer,
            start_timeout_s=START_TIMEOUT_S,
            request_timeout_s=suite.request_timeout_s,
        )
        try:
            with running(arm, start, folder.path / "server.log", _say) as server:
                prompt = server.client.tokenize(PROMPT)
                server.client.generate(prompt, max_new_tokens=1, stop=())
        except RequestFailed as error:
            raise HarnessError(f"the server did not answer: {error}") from error
    if not out.exists():
        raise HarnessError(f"the server answered, but its plugin did not write {out}: is it loaded?")


def _say(text: str) -> None:
    sys.stdout.write(f"activations: {text}\n")


def main() -> int:
    """Capture unless it is done already; return a process exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    out: Path = parser.parse_args().out
    if out.exists():
        return 0
    try:
        capture(
            out,
            server_python=Path(os.environ["HARNESS_SERVER_PYTHON"]),
            plugin_path=Path(os.environ["HARNESS_PLUGIN_PATH"]),
        )
    except HarnessError as error:
        sys.stderr.write(f"activations: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
