"""Speed of clients that ask one live server the same questions: ``nox -s bench -- --server``.

Ours sends a batch as one request and a question's choices with it; lm-eval's own (`local-completions`) a request for
each choice, and the protocol of SGLang's benchmarks (`few_shot_gsm8k` and its kin) a request for each question, both
so many at once. Every client takes its turn in every round, from an empty prefix cache, so that the ratios are of one
run. The bars are those of two ranks on two cores: BoolQ 3.2 times as fast as lm-eval's client, GSM8K 1.5 times.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lm_eval.evaluator import evaluate
from lm_eval.models.openai_completions import LocalCompletionsAPI

from harness.ask.lm_eval_task import MAX_NEW_TOKENS, LmEvalTask
from harness.cli.app import DEFAULT_SUITE
from harness.cli.ready import checked_plan
from harness.plan.plan import BASELINE, Plan
from harness.prepare.models import no_hub
from harness.records.run_folder import ArmFolder, RunFolder
from harness.records.samples import read_samples
from harness.records.time_spent import Passes
from harness.run.rank_logs import RankLogs
from harness.serve.server import Server, Start, running
from suites.publish import Marked, Section, publish

OURS, STOCK, EACH = "ours", "lm-eval's local-completions", "a request a question"
BARS = {"boolq": 3.2, "gsm8k": 1.5}
AT_ONCE = 16
"""Requests that the others have under way: as many as ours sends questions in one."""
CONTEXT = 8192
"""The model's. lm-eval's client would cut a prompt at 2,047 tokens, in silence."""
TEXT = """# Clients of one server

The same questions, asked of one live server by three clients in turn: ours, lm-eval's own for completions servers,
and the protocol of SGLang's benchmarks, a request a question. Ratios are medians over rounds, with the least and the
most; tokens are those that rank 0 says it prefilled."""
# What a client found: by question the margin between its choices, or its text.
Found = dict[int, float | str]


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One client's turn at a task.

    Attributes:
        seconds: How long it took.
        requests: HTTP requests that the server answered for it.
        prefilled: Tokens that rank 0 prefilled for it.
        found: What it found, by question.
    """

    seconds: float
    requests: int
    prefilled: int
    found: Found


class Bench:
    """A live server, its clients, and one task."""

    def __init__(self, plan: Plan, name: str, server: Server, folder: ArmFolder) -> None:
        self._plan, self._server = plan, server
        self._task = LmEvalTask(name, plan.tasks[name], Path(plan.data))
        self._logs = RankLogs(folder, plan.tp)
        self._scored = self._task.protocol()["output_type"] == "multiple_choice"
        # Made before anything is timed: the one loads a tokenizer, the other words the questions.
        self._stock_model = LocalCompletionsAPI(
            base_url=f"{server.client.url}/v1/completions",
            tokenizer_backend="huggingface",
            model=plan.model_path,
            num_concurrent=AT_ONCE,
            batch_size=1,
            max_gen_toks=plan.tasks[name].max_new_tokens or MAX_NEW_TOKENS,
            max_length=CONTEXT,
            header={"Authorization": f"Bearer {server.client.api_key}"},
            max_retries=1,
        )
        self._prompts = self._task.contents()

    def turn(self, client: str, part: range) -> Turn:
        """Have one client ask a part of the questions, from an empty prefix cache."""
        ask: Mapping[str, Callable[[range], Found]] = {OURS: self._ours, STOCK: self._stock, EACH: self._each}
        self._server.client.flush_cache()
        self._logs.wait_until_quiet()
        requests, prefilled = self._requests(), self._prefilled()
        started = time.monotonic()
        found = ask[client](part)
        seconds = time.monotonic() - started
        self._logs.wait_until_quiet()
        return Turn(
            seconds=seconds,
            requests=self._requests() - requests,
            prefilled=self._prefilled() - prefilled,
            found=found,
        )

    def _requests(self) -> int:
        text = self._server.log.read_text(errors="replace")
        return text.count('"POST /generate') + text.count('"POST /v1/completions')

    def _prefilled(self) -> int:
        return (self._logs.passes or Passes()).prefill_tokens

    def _ours(self, part: range) -> Found:
        with tempfile.TemporaryDirectory() as scratch:
            folder = ArmFolder(Path(scratch))

            def failed() -> None:
                raise RuntimeError("a request failed: there is nothing to time")

            self._task.ask(self._server.client, part, folder=folder, after_failure=failed, advance=lambda: None)
            samples = read_samples(folder.samples(self._task.name))
        return {
            sample.doc_id: sample.logprobs[1] - sample.logprobs[0] if sample.logprobs else sample.text or ""
            for sample in samples
        }

    def _stock(self, part: range) -> Found:
        results = evaluate(
            lm=self._stock_model,
            task_dict={"tasks": {self._task.name: self._task.task}, "groups": {}},
            samples={self._task.name: list(part)},
            bootstrap_iters=0,
        )
        found: Found = {}
        for sample in results["samples"][self._task.name]:
            responses = [response[0] for response in sample["resps"]]
            found[sample["doc_id"]] = (
                float(responses[1][0]) - float(responses[0][0]) if self._scored else str(responses[0])
            )
        return found

    def _each(self, part: range) -> Found:
        """As SGLang's benchmarks do: threads, each sending one question's prompt and waiting for its answer."""
        client = self._server.client
        choices = [client.tokenize(f" {word}", special=False) for word in ("no", "yes")]
        options: Any = {
            "max_new_tokens": self._plan.tasks[self._task.name].max_new_tokens or MAX_NEW_TOKENS,
            "stop": self._task.protocol()["stop"] or [],
        }

        def ask(number: int) -> float | str:
            prompt = client.tokenize(self._prompts[number])
            if self._scored:
                scores = client.score(prompt, choices).logprobs
                return scores[1] - scores[0]
            return client.generate(prompt, **options).text

        with ThreadPoolExecutor(AT_ONCE) as pool:
            return dict(zip(part, pool.map(ask, part), strict=True))


def agreement(ours: Found, theirs: Found) -> str:
    """Say how far two clients agree: the largest difference of a margin, or how many texts are the same."""
    numbers = [(ours[key], theirs[key]) for key in ours]
    margins = [abs(a - b) for a, b in numbers if isinstance(a, float) and isinstance(b, float)]
    if margins:
        turned = sum((a > 0) != (b > 0) for a, b in numbers if isinstance(a, float) and isinstance(b, float))
        return f"{turned} of {len(numbers)} answers differ, margins at most {max(margins):.1g} nats"
    # A client may leave a stop sequence or a space at the end.
    same = sum(str(a).strip() == str(b).strip() for a, b in numbers)
    return f"{same} of {len(numbers)} texts are the same"


def section(name: str, turns: Mapping[str, Sequence[Turn]], again: str, bar: float) -> Section:
    """Return a task's table."""
    ours = turns[OURS]
    rows = []
    for client, own in turns.items():
        questions = sum(len(turn.found) for turn in own)
        ratios = ratios_of(own, ours)
        ratio = statistics.median(ratios)
        met = client != STOCK or ratio >= bar
        cells = [
            client,
            f"{questions / sum(turn.seconds for turn in own):.2f}",
            f"{sum(turn.requests for turn in own) / questions:.2f}",
            f"{sum(turn.prefilled for turn in own) / questions:.0f}",
            "1" if client == OURS else f"{ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
            f"asked again: {again}" if client == OURS else agreement(_all(ours), _all(own)),
        ]
        rows.append([Marked(cell, "" if met else "red") for cell in cells])
    head = [
        "client",
        "questions/s",
        "requests a question",
        "tokens prefilled a question",
        "ours is faster by",
        "agrees",
    ]
    words = f"Bar: {bar} times lm-eval's client. Each client took a turn in each of {len(ours)} rounds."
    return Section(title=name, words=words, head=head, rows=rows)


def ratios_of(theirs: Sequence[Turn], ours: Sequence[Turn]) -> list[float]:
    """Return how many times as long as ours theirs took, round by round."""
    return [their.seconds / own.seconds for their, own in zip(theirs, ours, strict=True)]


def _all(turns: Sequence[Turn]) -> Found:
    return {key: value for turn in turns for key, value in turn.found.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 0, or 1 where a bar is missed."""
    parser = argparse.ArgumentParser(prog="nox -s bench -- --server", description=__doc__, allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--boolq", type=int, default=32, help="questions a round")
    parser.add_argument("--gsm8k", type=int, default=16, help="questions a round")
    chosen = parser.parse_args(arguments)
    sizes = {"boolq": chosen.boolq, "gsm8k": chosen.gsm8k}
    sections, missed, data = [], False, {}
    with tempfile.TemporaryDirectory() as scratch, no_hub():
        plan = _plan(Path(scratch), {name: chosen.rounds * size for name, size in sizes.items()})
        arm, folder = plan.arm(BASELINE), RunFolder(Path(plan.folder)).arm(BASELINE)
        folder.path.mkdir(parents=True)
        start = Start(
            tp=plan.tp,
            known_answer=plan.known_answer,
            start_timeout_s=plan.start_timeout_s,
            request_timeout_s=plan.request_timeout_s,
        )
        with running(arm, start, folder.log, tell) as server:
            for name, size in sizes.items():
                bench = Bench(plan, name, server, folder)
                turns: dict[str, list[Turn]] = {OURS: [], STOCK: [], EACH: []}
                for number in range(chosen.rounds):
                    part = range(number * size, (number + 1) * size)
                    for client, own in turns.items():
                        own.append(bench.turn(client, part))
                        tell(f"{name}, round {number + 1}: {client}: {own[-1].seconds:.1f} s")
                again = agreement(_all(turns[OURS][:1]), bench.turn(OURS, range(size)).found)
                sections.append(section(name, turns, again, BARS[name]))
                missed |= statistics.median(ratios_of(turns[STOCK], turns[OURS])) < BARS[name]
                data[name] = {
                    client: [
                        {"seconds": turn.seconds, "requests": turn.requests, "prefilled": turn.prefilled}
                        for turn in own
                    ]
                    for client, own in turns.items()
                }
    publish("bench-server", TEXT, data=data, sections=sections)
    return 1 if missed else 0


def tell(text: str) -> None:
    """Say how far it is."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _plan(reports: Path, questions: Mapping[str, int]) -> Plan:
    """Return the default suite's plan, with so many questions of each task."""
    plan = checked_plan(
        suite=DEFAULT_SUITE,
        thresholds=None,
        server_python=Path(os.environ["HARNESS_SERVER_PYTHON"]),
        plugin_path=Path(os.environ["HARNESS_PLUGIN_PATH"]),
        model_path=None,
        data=None,
        data_folder=None,
        limit=None,
        port=None,
        reports=reports,
    )
    tasks = {
        name: task.model_copy(update={"questions": questions[name], "concurrency": AT_ONCE})
        for name, task in plan.tasks.items()
    }
    return plan.model_copy(update={"tasks": tasks})


if __name__ == "__main__":
    sys.exit(main())
