"""Whole runs that nobody made: everything they leave is written by the project's own writers."""

from collections.abc import Sequence
from typing import Any

from harness.plan.plan import Plan
from harness.records.predictions import Piece
from harness.records.run import ArmRecord, RunRecord, TaskRecord, Traffic, write_lines, write_record
from harness.records.run_folder import ArmFolder, RunFolder
from harness.records.samples import Sample, write_samples
from harness.records.time_spent import Passes, Span, Spent
from harness.report.build import build_report
from tests.answers import boolq, gsm8k, make_line, make_text
from tests.rank_logs import FACTS, write_engagement, write_live_check
from tests.support import NOW, run_folder

ARMS = ("baseline", "compressed")
# Of each task of a written arm: 3 of its 5 seconds are prefill, 1 is decode.
PASSES = Passes(prefills=8, prefill_tokens=3000, prefill_seconds=3.0, decodes=9, decode_tokens=90, decode_seconds=1.0)


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
        found = [make_text(text, 12) for text in names]
        write_lines(folder.predictions, found)
        folder.engagement.mkdir()
        if name != "baseline":
            write_lines(folder.compared, [make_line(text, likely) for text in found])
            write_lines(folder.pieces, [Piece(token=token, text=f" {token}") for token in range(1, 13)])
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


def finished(plan: Plan, **changed: Any) -> RunFolder:
    """Write a whole run of the default suite: boolq loses one question and wins one, gsm8k loses two."""
    write_run(plan)
    write_arm(plan, "baseline", {"boolq": boolq(3, 4), "gsm8k": gsm8k()})
    write_arm(plan, "compressed", {"boolq": boolq(4, 5), "gsm8k": gsm8k(0, 1)}, **changed)
    return run_folder(plan)


def reasons(folder: RunFolder) -> tuple[str, int, str]:
    """Return the verdict of a run's report, its exit code, and the reasons, one a line."""
    report = build_report(folder)
    return report.verdict, report.exit_code, "\n".join(report.reasons)
