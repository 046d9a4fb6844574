import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from harness import records
from harness.cli import PLAIN_WIDTH
from harness.errors import HarnessError
from harness.plan import Plan
from harness.report.build import build_report, margin
from harness.report.markdown import markdown
from harness.report.model import SCHEMA_VERSION, Report
from harness.report.terminal import show
from harness.report.write import write_report
from harness.samples import Sample, sample_file, write_samples
from harness.sglang_plugin.recorder import Recorder
from tests.support import (
    FACTS,
    failed,
    make,
    make_choice,
    make_sample,
    write_arm,
    write_engagement,
    write_run,
)

N = {"boolq": 128, "gsm8k": 16}
ARMS = ("baseline", "compressed")
ARM_SECONDS = {"start": 12.3, "boolq": 5.0, "gsm8k": 5.0}


def boolq(*wrong: int) -> list[Sample]:
    return [make_choice(of, right=of not in wrong) for of in range(N["boolq"])]


def gsm8k(*wrong: int) -> list[Sample]:
    return [make_sample(of, right=of not in wrong) for of in range(N["gsm8k"])]


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return make(tmp_path)


def finished(plan: Plan, **changed: Any) -> Path:
    """Write a whole run: boolq loses one question and wins one, gsm8k loses two."""
    write_run(plan)
    write_arm(plan, "baseline", {"boolq": boolq(3, 4), "gsm8k": gsm8k()})
    write_arm(plan, "compressed", {"boolq": boolq(4, 5), "gsm8k": gsm8k(0, 1)}, **changed)
    return Path(plan.folder)


def reasons(folder: Path) -> tuple[str, int, str]:
    report = build_report(folder)
    return report.verdict, report.exit_code, "\n".join(report.reasons)


def shown(report: Report, *, terminal: bool = False) -> str:
    console = Console(width=PLAIN_WIDTH, record=True, force_terminal=terminal, file=io.StringIO())
    show(report, console, Path("reports/x"))
    return console.export_text(styles=terminal)


def test_a_finished_run(plan: Plan) -> None:
    report = build_report(finished(plan))
    assert (report.verdict, report.exit_code) == ("PASS", 0)
    assert report.schema_version == SCHEMA_VERSION
    task = report.tasks["boolq"]
    assert (task.n, task.asked, task.verdict) == (128, 128, "PASS")
    assert task.baseline.accuracy == task.compressed.accuracy == 126 / 128
    paired = task.paired
    assert (paired.both_right, paired.baseline_only, paired.compressed_only, paired.both_wrong) == (
        125,
        1,
        1,
        1,
    )
    assert paired.delta == 0
    assert -0.1 < paired.delta_low < 0 < paired.delta_high < 0.1
    assert paired.mcnemar_p == 0.75
    assert paired.answers_changed == 2
    assert report.tasks["gsm8k"].verdict == "REPORTED"
    assert report.tasks["gsm8k"].paired.margin_shift is None
    assert "boolq: 2 of 128 answers changed (2%)" in report.notes
    assert report.versions == {"python": "3.11", "sglang": FACTS["sglang"], "torch": FACTS["torch"]}
    assert report.timings == {
        "total": 100.0,
        **{f"{arm}.{of}": seconds for arm in ARMS for of, seconds in ARM_SECONDS.items()},
    }


def test_the_keys_that_others_rely_on(plan: Plan) -> None:
    folder = finished(plan)
    write_report(build_report(folder), folder)
    found = json.loads((folder / "report.json").read_text())
    for key in (
        "schema_version",
        "run_id",
        "suite",
        "model",
        "verdict",
        "reasons",
        "timings",
        "versions",
        "repeat",
    ):
        assert key in found
    assert isinstance(found["reasons"], list)
    for arm in ARMS:
        assert found["arms"][arm]["server_args"]["tp_size"] == 2
        for rank in found["arms"][arm]["engagement"]["ranks"]:
            assert rank.keys() >= {"rank", "calls", "elements", "wire_bytes"}
    assert [rank["calls"] for rank in found["arms"]["compressed"]["engagement"]["ranks"]] == [24, 24]
    for task in found["tasks"].values():
        assert task.keys() >= {"n", "baseline", "compressed", "paired", "verdict"}
        assert task["paired"].keys() >= {
            *("both_right", "baseline_only", "compressed_only", "both_wrong"),
            *("delta", "delta_low", "answers_changed"),
        }


def test_a_report_built_again_is_the_same(plan: Plan) -> None:
    folder = finished(plan)
    first = build_report(folder)
    write_report(first, folder)
    before = [(folder / name).read_bytes() for name in ("report.json", "report.md")]
    again = build_report(folder)
    write_report(again, folder, latest=False)
    assert again == first
    assert [(folder / name).read_bytes() for name in ("report.json", "report.md")] == before


def test_margins(plan: Plan) -> None:
    assert margin(make_choice()) == pytest.approx(1.0)
    assert margin(make_choice(right=False)) == pytest.approx(-1.0)
    assert margin(make_sample()) is None
    write_run(plan)
    write_arm(plan, "baseline", {"boolq": boolq(), "gsm8k": gsm8k()})
    write_arm(plan, "compressed", {"boolq": boolq(*range(32)), "gsm8k": gsm8k()})
    shift = build_report(Path(plan.folder)).tasks["boolq"].paired.margin_shift
    assert shift is not None
    assert shift.mean == pytest.approx(-0.5)
    assert shift.spread == pytest.approx(math.sqrt(0.75))
    assert shift.largest == pytest.approx(2.0)


def test_a_failed_request_is_an_error_and_no_wrong_answer(plan: Plan) -> None:
    folder = finished(plan)
    broken = [failed(of) if of.doc_id == 7 else of for of in boolq()]
    write_samples(sample_file(folder / "compressed", "boolq"), broken)
    report = build_report(folder)
    assert (report.verdict, report.exit_code) == ("ERROR", 3)
    assert report.reasons == ["boolq: 1 requests failed; a failed request is not a wrong answer"]
    assert (report.tasks["boolq"].n, report.tasks["boolq"].compressed.accuracy) == (127, 1.0)
    assert (report.tasks["boolq"].baseline.failed, report.tasks["boolq"].compressed.failed) == (0, 1)


def test_answers_cut_by_length_are_counted_per_arm(plan: Plan) -> None:
    folder = finished(plan)
    cut = [make_sample(of, finish_reason="length" if of < 4 else "stop") for of in range(16)]
    write_samples(sample_file(folder / "compressed", "gsm8k"), cut)
    report = build_report(folder)
    assert (report.tasks["gsm8k"].baseline.truncated, report.tasks["gsm8k"].compressed.truncated) == (
        0.0,
        0.25,
    )
    assert report.tasks["boolq"].compressed.truncated is None
    assert "gsm8k: 25% of the compressed arm's answers ended at the token cap" in report.notes


@pytest.mark.parametrize("arm", ARMS)
def test_missing_samples(plan: Plan, arm: str) -> None:
    folder = finished(plan)
    sample_file(folder / arm, "gsm8k").unlink()
    verdict, code, why = reasons(folder)
    assert (verdict, code) == ("ERROR", 3)
    assert why.startswith(f"gsm8k: {arm} arm: ")
    assert "that task was not finished" in why


@pytest.mark.parametrize("text", ["", "{\n"])
def test_cut_off_samples(plan: Plan, text: str) -> None:
    folder = finished(plan)
    file = sample_file(folder / "compressed", "boolq")
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:9]) + text)
    verdict, code, why = reasons(folder)
    assert (verdict, code) == ("ERROR", 3)
    assert ("119 questions are in one arm only" in why) is not bool(text)
    assert ("samples-boolq.jsonl:10: is not a sample" in why) is bool(text)


def test_fewer_questions_than_planned_in_both_arms(plan: Plan) -> None:
    folder = finished(plan)
    for arm in ARMS:
        write_samples(sample_file(folder / arm, "boolq"), boolq()[:100])
    assert reasons(folder) == ("ERROR", 3, "boolq: 28 of 128 questions are missing")


def test_another_filters_samples_are_not_judged(plan: Plan) -> None:
    folder = finished(plan)
    for arm in ARMS:
        strict = [make_sample(of, right=False, filter="strict") for of in range(16)]
        write_samples(sample_file(folder / arm, "gsm8k"), [*gsm8k(), *strict])
    task = build_report(folder).tasks["gsm8k"]
    assert (task.n, task.baseline.accuracy) == (16, 1.0)


def test_a_missing_log_of_a_rank_is_an_error(plan: Plan) -> None:
    folder = finished(plan)
    (folder / "compressed" / "engagement" / "rank-1.jsonl").unlink()
    verdict, code, why = reasons(folder)
    assert (verdict, code) == ("ERROR", 3)
    assert why.startswith("compression is not proven: compressed arm: rank 1 left no proof")


def test_a_baseline_that_compressed_is_an_error(plan: Plan) -> None:
    folder = finished(plan)
    for file in (folder / "baseline" / "engagement").iterdir():
        file.unlink()
    write_engagement(folder / "baseline" / "engagement", compressed=True)
    verdict, _, why = reasons(folder)
    assert verdict == "ERROR"
    assert "compression is not proven: baseline arm: rank 0 compressed 24 times" in why


def test_arms_that_differ_in_more_than_the_flag(plan: Plan) -> None:
    verdict, _, why = reasons(finished(plan, dtype="float16", port=9, random_seed=4))
    assert verdict == "ERROR"
    assert why == "the arms differ in dtype: None in the baseline, 'float16' compressed"


def test_a_compressed_server_that_lost_the_known_answer_fails(plan: Plan) -> None:
    verdict, code, why = reasons(finished(plan, known_answer=False))
    assert (verdict, code) == ("FAIL", 1)
    assert "no longer continues 'The capital of France is' with ' Paris'" in why


def cut_early(plan: Plan, after: str) -> Path:
    """Write a run that ended early, in the compressed arm or even before."""
    write_run(plan, errors=["compressed: the server ended with exit code 1\nlast | line"])
    if after != "nothing":
        write_arm(plan, "baseline", {"boolq": boolq(), "gsm8k": gsm8k()})
    if after == "the first task":
        folder = write_arm(plan, "compressed", {"boolq": boolq()})
        Recorder(folder / "engagement").start(1, {**FACTS, "flag": True})
    if after == "an empty arm":
        (Path(plan.folder) / "compressed").mkdir()
    return Path(plan.folder)


@pytest.mark.parametrize("after", ["nothing", "the baseline", "an empty arm", "the first task"])
def test_a_run_that_ended_early_has_a_report_in_every_form(plan: Plan, after: str) -> None:
    folder = cut_early(plan, after)
    report = build_report(folder)
    assert (report.verdict, report.exit_code) == ("ERROR", 3)
    assert report.reasons[0] == "compressed: the server ended with exit code 1\nlast | line"
    assert any(reason.startswith("gsm8k: compressed arm: ") for reason in report.reasons)
    assert any(reason.startswith("boolq: ") for reason in report.reasons) is (after != "the first task")
    assert report.tasks["gsm8k"].compressed.accuracy is None
    assert report.tasks["gsm8k"].n == 0
    write_report(report, folder)
    text = (folder / "report.md").read_text()
    assert text.startswith("# ERROR: smollm2-cpu\n")
    assert "the server ended with exit code 1" in text
    assert ("never ready" in text) is (after != "the first task")
    assert "the server ended with exit code 1" in shown(report)


@pytest.mark.parametrize("name", [records.PLAN, records.RUN])
def test_a_folder_that_is_no_run(plan: Plan, name: str) -> None:
    folder = finished(plan)
    (folder / name).unlink()
    with pytest.raises(HarnessError, match=f"{name} cannot be read"):
        build_report(folder)


def test_markdown_tables_are_whole(plan: Plan) -> None:
    report = build_report(finished(plan))
    lines = markdown(report).splitlines()
    assert lines[0] == "# PASS: smollm2-cpu"
    tables = [index for index, line in enumerate(lines) if line.startswith("|---")]
    assert len(tables) == 3
    for index, rows in zip(tables, (2, 2, 4), strict=True):
        width = lines[index].count("|")
        body = lines[index - 1 : index + 1 + rows]
        assert all(line.startswith(("| ", "|---")) for line in body)
        assert [line.count("|") for line in body] == [width] * len(body)
        assert not lines[index + 1 + rows].startswith("|")
    row = next(line for line in lines if line.startswith("| boolq | 128 of 128"))
    assert "| 0.984 | 0.984 | +0.0 |" in row
    assert "| 1 / 1 | 2 | - / - | 0 / 0 | PASS |" in row
    assert f"Build this report again: `python -m harness report {plan.folder}`" in lines
    assert "Implementation: harness.collective, codec int8_token, one_shot, 3 layers." in lines


def test_the_terminal_shows_tables_whole_and_the_verdict_in_words(plan: Plan) -> None:
    report = build_report(finished(plan))
    text = shown(report)
    assert "\u2026" not in text
    lines = text.splitlines()
    row = next(line for line in lines if "boolq" in line and "128" in line)
    for cell in ("0.984", "+0.0", "1/1", "PASS"):
        assert cell in row
    assert any(line.startswith("PASS smollm2-cpu: SmolLM2-135M-Instruct on cpu") for line in lines)
    assert lines[-1] == "report: reports/x/report.md"
    assert sum("compressed" in line and "0.0 MiB" in line for line in lines) == 2


def test_colour_is_for_terminals(plan: Plan) -> None:
    report = build_report(finished(plan))
    assert "\x1b[1;32mPASS" in shown(report, terminal=True)
    assert "\x1b" not in shown(report)


def test_latest_points_to_the_newest(plan: Plan, tmp_path: Path) -> None:
    folder = finished(plan)
    write_report(build_report(folder), folder)
    latest = tmp_path / "reports" / "latest"
    assert latest.is_symlink()
    assert latest.resolve() == folder
    newer = folder.with_name("newer")
    folder.rename(newer)
    write_report(build_report(newer), newer)
    assert latest.resolve() == newer
    other = newer.with_name("old")
    newer.rename(other)
    write_report(build_report(other), other, latest=False)
    assert latest.readlink() == Path("newer")
    assert sorted(of.name for of in latest.parent.iterdir()) == ["latest", "old"]


def test_the_folder_of_reports_may_be_moved(plan: Plan, tmp_path: Path) -> None:
    folder = finished(plan)
    write_report(build_report(folder), folder)
    (tmp_path / "reports").rename(tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere" / "latest" / "report.json").is_file()
