"""What several test modules build. Everything a run leaves is written by the project's own writers."""

import json
import struct
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import groupby
from math import exp, log
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from harness.config.load import load
from harness.places import THRESHOLDS
from harness.plan.make import make_plan
from harness.plan.options import Options
from harness.plan.plan import Plan
from harness.records.predictions import CompareLine, TextRecord
from harness.records.run import ArmRecord, RunRecord, TaskRecord, Traffic, write_lines, write_record
from harness.records.run_folder import ArmFolder, RunFolder
from harness.records.samples import Sample, write_samples
from harness.records.time_spent import Passes, Span, Spent
from harness.serve.server import Start
from harness.sglang_plugin.recorder import Log, Recorder

LAYERS = 3
WIDTH = 8
# Of each task of a written arm: 3 of its 5 seconds are prefill, 1 is decode.
PASSES = Passes(prefills=8, prefill_tokens=3000, prefill_seconds=3.0, decodes=9, decode_tokens=90, decode_seconds=1.0)
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MANIFEST = {"source": "packaged", "origin": {"boolq": "somewhere"}, "files": {}}
FACTS = {
    "world_size": 2,
    "tp_size": 2,
    "layers": LAYERS,
    "hidden": WIDTH,
    "device": "cpu",
    "implementation": "harness.collective",
    "codec": "int8_token",
    "algorithm": "one_shot",
    "sglang": "0.5.23",
    "torch": "2.9.0",
}

GSM8K_ROWS = [
    {"question": f"What is {number} and 1?", "answer": f"It is {number + 1}.\n#### {number + 1}"}
    for number in range(9)
]
PASSAGES = [
    {"question": f"is it {number}", "passage": f"It is {number}.", "label": number % 2} for number in range(4)
]


# A task of one's own; `answer` is a choice's number.
OWN_TASK: dict[str, Any] = {
    "task": "mine",
    "dataset_path": "json",
    "output_type": "multiple_choice",
    "test_split": "test",
    "doc_to_text": "{{question}}",
    "doc_to_choice": "{{choices}}",
    "doc_to_target": "{{answer}}",
    "metric_list": [{"metric": "acc"}],
    "metadata": {"version": 1.0, "data_files": {"test": "mine.jsonl"}},
}


def write_rows(file: Path, rows: Iterable[object]) -> None:
    """Write one JSON value a line."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def safetensors(data: int = 16) -> bytes:
    """Return a whole safetensors file with one tensor of `data` bytes."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [data // 4], "data_offsets": [0, data]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(data)


def write_model(folder: Path) -> Path:
    """Write what a model's folder must hold."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(safetensors())
    return folder


def write_interpreter(folder: Path, script: str = "exit 9") -> Path:
    """Write a shell script in place of an interpreter that has SGLang."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sglang").write_text("#!/bin/sh\nexit 9\n")
    python = folder / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    return python


def make_options(folder: Path, **changed: Any) -> Options:
    """Return options whose interpreter, plugin and model are made on first use below `folder`."""
    python, plugin, model = folder / "bin" / "python", folder / "plugin", folder / "model"
    if not python.exists():
        write_interpreter(python.parent)
    (plugin / "harness" / "sglang_plugin").mkdir(parents=True, exist_ok=True)
    if not model.exists():
        write_model(model)
    usual = {
        "suite": "smollm2-cpu",
        "server_python": python,
        "plugin_path": plugin,
        "model_path": str(model),
        "reports": folder / "reports",
    }
    return Options(**{**usual, **changed})


def write_judging_thresholds(folder: Path) -> Path:
    """Write the project's thresholds with a row for the default suite's BoolQ as a model has that can do BoolQ."""
    yaml = YAML()
    content = yaml.load(THRESHOLDS.read_text(encoding="utf-8"))
    row = content["models"]["SmolLM2-135M-Instruct"]["boolq"]
    del row["report_only"]
    row |= {"max_drop": 0.1, "min_questions": 64}
    file = folder / "thresholds.yaml"
    with file.open("w", encoding="utf-8") as out:
        yaml.dump(content, out)
    return file


def make(folder: Path, *, data: Path | None = None, **changed: Any) -> Plan:
    """Plan one of the project's own suites, with a row of BoolQ that judges."""
    options = make_options(folder, **changed)
    suite, thresholds = load(options.suite, thresholds=write_judging_thresholds(folder))
    return make_plan(
        suite,
        thresholds,
        options,
        data=data or folder / "data",
        data_manifest=MANIFEST,
        repeat="nox -s accuracy --",
        now=NOW,
    )


def make_sample(doc_id: int = 0, *, right: bool = True, **changed: Any) -> Sample:
    """Return a generated answer of gsm8k."""
    usual: dict[str, Any] = {
        "task": "gsm8k",
        "filter": "last-number",
        "doc_id": doc_id,
        "row": doc_id,
        "doc_hash": f"document {doc_id}",
        "prompt_hash": f"prompt {doc_id}",
        "prompt_tokens": 7,
        "first_tokens": [1, 2, 3],
        "target": "5",
        "answer": "5" if right else "6",
        "right": right,
        "text": f" it is {5 if right else 6}",
        "generated_tokens": 4,
        "finish_reason": "stop",
    }
    return Sample(**{**usual, **changed})


def make_choice(doc_id: int = 0, *, right: bool = True, **changed: Any) -> Sample:
    """Return a scored answer of boolq; the right one is `yes` and `no` by turns."""
    target, other = ("yes", "no") if doc_id % 2 == 0 else ("no", "yes")
    said = target if right else other
    usual: dict[str, Any] = {
        "task": "boolq",
        "filter": "none",
        "target": target,
        "answer": said,
        "choices": ["no", "yes"],
        "logprobs": [-2.0, -1.0] if said == "yes" else [-1.0, -2.0],
        "text": None,
        "generated_tokens": None,
        "finish_reason": None,
    }
    return make_sample(doc_id, right=right, **{**usual, **changed})


def make_predictions(
    name: str = "boolq/0", predictions: int = 3, *, likely: float = 0.6, **changed: Any
) -> TextRecord:
    """Return a text whose every prediction is: token 1 with `likely`, another with what is left; token 1 follows."""
    usual: dict[str, Any] = {
        "text": name,
        "text_hash": f"hash of {name}",
        "token_hash": f"hash of {name}'s tokens",
        "tokens": [9] + [1] * predictions,
        "pieces": [f" {number}" for number in range(1, predictions + 1)],
        "logprobs": [log(likely)] * predictions,
        "best": [" one"] * predictions,
    }
    return TextRecord(**{**usual, **changed})


def make_compared(baseline: Iterable[TextRecord], other: Iterable[TextRecord]) -> dict[str, CompareLine]:
    """Return what the other arm's server writes of texts of `make_predictions`."""
    return {
        there.token_hash: CompareLine(
            policy=0,
            text=there.token_hash,
            reference=0,
            kl=[binary_kl(p, q) for p, q in zip(here.logprobs, there.logprobs, strict=True)],
            baseline=here.logprobs,
            candidate=there.logprobs,
            same_top=[one == another for one, another in zip(here.best, there.best, strict=True)],
        )
        for here, there in zip(baseline, other, strict=False)
        if here.error is None and there.error is None
    }


def binary_kl(p: float, q: float) -> float:
    """Return the KL divergence between two predictions of two tokens, from the first one's log-probabilities."""
    return exp(p) * (p - q) + (1 - exp(p)) * log((1 - exp(p)) / (1 - exp(q)))


def failed(sample: Sample) -> Sample:
    """Return the sample as it is when its request failed."""
    nothing = {"answer": None, "right": None, "text": None, "finish_reason": None, "generated_tokens": None}
    return sample.model_copy(update={**nothing, "choices": None, "logprobs": None, "error": "HTTP 500"})


def write_engagement(
    folder: Path, *, compressed: bool, ranks: Iterable[int] = (0, 1), prefills: int = 4, **facts: Any
) -> None:
    """Write the logs that ranks leave when all is well, by the plugin's own recorder."""
    for rank in ranks:
        recorder = Recorder(folder)
        recorder.start(rank, {**FACTS, "flag": compressed, **facts})
        for tokens in range(1, prefills + 1):
            with recorder.forward("EXTEND", tokens):
                for layer in range(LAYERS if compressed else 0):
                    count(recorder, "attention", tokens, layer=layer)
                    count(recorder, "ffn", tokens, layer=layer)
            with recorder.forward("DECODE", 1):
                pass
        with recorder.forward("IDLE", 0):
            pass


def count(recorder: Recorder, site: str, tokens: int = 1, *, layer: int = 0, quantized: bool = True) -> None:
    """Count one compressed all-reduce."""
    sent = {"elements": tokens * WIDTH, "wire_bytes": tokens * (WIDTH + 4)}
    recorder.count(site, layer=layer, how="int8_token one_shot", quantized=quantized, **sent)


def tally(tokens: int = 3, **changed: Any) -> dict[str, Any]:
    """Return what the plugin measures of one checked call over some tokens: INT8's usual 40 dB."""
    usual = {
        "tokens": tokens,
        "elements": tokens * WIDTH,
        "beyond": 0,
        "over_bound": 0.5 if tokens else 0.0,
        "signal": 100.0 * tokens,
        "error": 0.01 * tokens,
        "claimed": 0.01 * tokens,
        "nonzero": tokens * WIDTH,
        "flushed": tokens,
        "crest": 4.0 if tokens else 0.0,
    }
    return {**usual, **changed}


def checked(call: int, **changed: Any) -> dict[str, Any]:
    """Return one checked call: calls alternate between the sites, layer by layer."""
    usual = {
        "call": call,
        "site": ("attention", "ffn")[call % 2],
        "layer": call // 2 % LAYERS,
        "codec": "int8_token",
        "algorithm": "one_shot",
        "token0": tally(1),
        "rest": tally(),
        "nonfinite": 0,
        "swallowed": 0,
        "worst": {"row": 1, "column": 2, "served": 1.5, "expected": 1.25, "allowed": 0.5},
        "differing": 0,
        "differing_most": None,
    }
    return {**usual, **changed}


def write_live_check(
    folder: Path, samples: Sequence[dict[str, Any]] | None = None, *, ranks: Iterable[int] = (0, 1), **end: Any
) -> None:
    """Write the live checks that ranks leave when all is well: one pass, all of its calls."""
    usual = {"calls": 2 * LAYERS, "pass_seconds": 2.0, "check_seconds": 0.5}
    for rank in ranks:
        log = Log(folder / f"live-rank-{rank}.jsonl")
        log.write({"rank": rank, "every": 97, "codec": "int8_token", "algorithm": "one_shot"})
        calls = [checked(call) for call in range(2 * LAYERS)] if samples is None else samples
        log.write({**usual, **end, "samples": calls})


def run_folder(plan: Plan) -> RunFolder:
    """Return where a plan's run writes."""
    return RunFolder(Path(plan.folder))


def whole_tables(lines: Sequence[str]) -> list[list[str]]:
    """Return the tables of a Markdown text, each with its head; a line that is cut, or alone, fails."""
    tables = [list(rows) for is_row, rows in groupby(lines, key=lambda line: line.startswith("|")) if is_row]
    assert tables
    for table in tables:
        assert table[1].replace(" ", "").startswith("|---")
        assert all(row.endswith("|") for row in table)
        assert len({row.count("|") for row in table}) == 1, table
    return tables


def start_of(plan: Plan) -> Start:
    """Return how a plan's servers are started."""
    return Start(
        tp=plan.tp,
        known_answer=plan.known_answer,
        start_timeout_s=plan.start_timeout_s,
        request_timeout_s=plan.request_timeout_s,
        port=plan.port,
    )


def rewrite_samples(file: Path, samples: Iterable[Sample]) -> None:
    """Replace a task's samples, which the harness itself only adds to."""
    file.unlink()
    write_samples(file, samples)


def write_arm(
    plan: Plan,
    name: str,
    tasks: dict[str, Sequence[Sample]],
    *,
    known_answer: bool = True,
    likely: float = 0.6,
    **args: Any,
) -> ArmFolder:
    """Write what one finished arm leaves; it predicts the fixed texts' tokens with the probability `likely`."""
    folder = run_folder(plan).arm(name)
    folder.path.mkdir(parents=True)
    compressed = name == "compressed"
    # One arm after the other, 33 seconds each at most.
    began = 33.0 * [arm.name for arm in plan.arms].index(name)
    record = ArmRecord(
        server_args={"tp_size": 2, "port": 1, "enable_quant_communications": compressed, **args},
        known_answer=known_answer,
        seconds_to_ready=12.34,
        # Of the prefills that `write_engagement` logs: 1 + 2 + 3 + 4 tokens.
        own_prefill=1,
        traffic=Traffic(answers=3, prompt=11, cached=2),
        tasks={
            task: TaskRecord(
                seconds=5.0,
                questions=len({sample.doc_id for sample in samples}),
                protocol={"bos": "none", "shots": 5},
                protocol_text=f"{task} version 1",
                spent=Spent(
                    spans=[Span(began=began + 13 + 6 * number, ended=began + 18.5 + 6 * number)],
                    waited=4.5,
                    passes=PASSES,
                ),
            )
            for number, (task, samples) in enumerate(tasks.items())
        },
        starts=[Span(began=began, ended=began + 12.34)],
    )
    write_record(folder.record, record)
    for task, samples in tasks.items():
        write_samples(folder.samples(task), samples)
    if plan.fidelity is not None:
        names = [f"{source}/{number}" for source, count in plan.fidelity.texts.items() for number in range(count)]
        found = [make_predictions(text, 12, likely=likely) for text in names]
        write_lines(folder.predictions, found)
        folder.engagement.mkdir()
        if name != "baseline":
            compared = make_compared([make_predictions(text, 12) for text in names], found)
            write_lines(folder.compared, compared.values())
    write_engagement(folder.engagement, compressed=compressed)
    if compressed:
        write_live_check(folder.engagement)
    return folder


def write_run(plan: Plan, errors: Sequence[str] = (), versions: dict[str, str] | None = None) -> None:
    """Write what the run as a whole leaves."""
    folder = run_folder(plan)
    folder.path.mkdir(parents=True, exist_ok=True)
    write_record(folder.plan, plan)
    record = RunRecord(
        started=NOW.isoformat(),
        seconds=99.96,
        errors=list(errors),
        versions=versions or {"python": "3.11", "sglang": str(FACTS["sglang"])},
    )
    write_record(folder.run, record)


def boolq(*wrong: int) -> list[Sample]:
    """Return all answers of the default suite's boolq."""
    return [make_choice(number, right=number not in wrong) for number in range(128)]


def gsm8k(*wrong: int) -> list[Sample]:
    """Return all answers of the default suite's gsm8k."""
    return [make_sample(number, right=number not in wrong) for number in range(16)]


def finished(plan: Plan, **changed: Any) -> RunFolder:
    """Write a whole run of the default suite: boolq loses one question and wins one, gsm8k loses two."""
    write_run(plan)
    write_arm(plan, "baseline", {"boolq": boolq(3, 4), "gsm8k": gsm8k()})
    write_arm(plan, "compressed", {"boolq": boolq(4, 5), "gsm8k": gsm8k(0, 1)}, **changed)
    return run_folder(plan)
