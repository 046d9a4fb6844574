"""A report: what a whole run comes to, in figures and words."""

import json
import math
from pathlib import Path

import pytest

from harness.judge.pairing import margin
from harness.plan.plan import Plan
from harness.records.run_folder import RunFolder
from harness.report.build import build_report
from harness.report.model import SCHEMA_VERSION
from harness.report.write import write_report
from tests.answers import boolq, gsm8k, make_choice, make_sample, rewrite_samples
from tests.rank_logs import FACTS
from tests.runs import ARMS, finished, reasons, write_arm, write_run
from tests.support import make, run_folder

ARM_SECONDS = {"start": 12.3, "boolq": 5.0, "gsm8k": 5.0}


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
        **{f"{arm}.{entry}": seconds for arm in ARMS for entry, seconds in ARM_SECONDS.items()},
    }


def test_the_keys_that_others_rely_on(plan: Plan) -> None:
    folder = finished(plan)
    write_report(build_report(folder), folder)
    found = json.loads(folder.report.read_text())
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
    files = (folder.report, folder.markdown, folder.plots)
    before = [file.read_bytes() for file in files]
    again = build_report(folder)
    write_report(again, folder)
    assert again == first
    assert [file.read_bytes() for file in files] == before


def test_the_baseline_again_shows_what_changes_by_itself(tmp_path: Path) -> None:
    plan = make(tmp_path, noise_floor=True)
    folder = finished(plan)
    verdict, _, why = reasons(folder)
    assert verdict == "ERROR"
    assert "compression is not proven: baseline-again arm: rank 0 left no proof" in why
    write_arm(plan, "baseline-again", {"boolq": boolq(3, 4, 5), "gsm8k": gsm8k()})
    report = build_report(folder)
    assert report.verdict == "PASS"
    noise = report.tasks["boolq"].noise
    assert noise is not None
    assert (noise.baseline_only, noise.compressed_only, noise.answers_changed) == (1, 0, 1)
    write_report(report, folder)
    assert "| boolq | 1 / 0 | 1 |" in folder.markdown.read_text()


def test_a_run_without_the_baseline_again_has_no_noise_floor(plan: Plan) -> None:
    folder = finished(plan)
    report = build_report(folder)
    assert [found.noise for found in report.tasks.values()] == [None, None]
    write_report(report, folder)
    assert "What changes by itself" not in folder.markdown.read_text()


def test_prompts_worded_by_a_chat_template_are_told_in_every_form(plan: Plan) -> None:
    folder = finished(plan)
    for arm in ARMS:
        file = folder.arm(arm).record
        record = json.loads(file.read_text())
        chat = {"chat_template": "the model's own", "system": "Be brief.", "thinking": "off"}
        record["tasks"]["boolq"]["protocol"] |= chat
        file.write_text(json.dumps(record))
    report = build_report(folder)
    said = "boolq: worded by the model's chat template, system text 'Be brief.', thinking off"
    assert said in report.notes
    write_report(report, folder)
    assert said in folder.markdown.read_text()
    assert not [note for note in report.notes if note.startswith("gsm8k: worded")]
    bare = "fidelity: its texts are read bare, without the chat template"
    assert (bare in report.notes) == (plan.fidelity is not None)


def test_margins(plan: Plan) -> None:
    assert margin(make_choice()) == pytest.approx(1.0)
    assert margin(make_choice(right=False)) == pytest.approx(-1.0)
    assert margin(make_sample()) is None
    write_run(plan)
    write_arm(plan, "baseline", {"boolq": boolq(), "gsm8k": gsm8k()})
    write_arm(plan, "compressed", {"boolq": boolq(*range(32)), "gsm8k": gsm8k()})
    shift = build_report(run_folder(plan)).tasks["boolq"].paired.margin_shift
    assert shift is not None
    assert shift.mean == pytest.approx(-0.5)
    assert shift.spread == pytest.approx(math.sqrt(0.75 * 128 / 127))
    assert shift.largest == pytest.approx(-2.0)


def test_another_filters_samples_are_not_judged(plan: Plan) -> None:
    folder = finished(plan)
    for arm in ARMS:
        strict = [make_sample(number, right=False, filter="strict") for number in range(16)]
        rewrite_samples(folder.arm(arm).samples("gsm8k"), [*gsm8k(), *strict])
    task = build_report(folder).tasks["gsm8k"]
    assert (task.n, task.baseline.accuracy) == (16, 1.0)


def many_changed(plan: Plan) -> RunFolder:
    """Write a run whose arms are as often right, on other questions: a WARNING, and no loss."""
    folder = finished(plan)
    rewrite_samples(folder.arm("baseline").samples("boolq"), boolq(*range(20)))
    rewrite_samples(folder.arm("compressed").samples("boolq"), boolq(*range(20, 40)))
    return folder


def test_strict_makes_a_warning_a_fail(tmp_path: Path) -> None:
    report = build_report(many_changed(make(tmp_path, strict=True)))
    assert report.warnings
    assert (report.verdict, report.exit_code) == ("FAIL", 1)
    assert report.reasons[-1].startswith(f"strict: {len(report.warnings)} WARNING")
    lenient = build_report(many_changed(make(tmp_path / "lenient")))
    assert (lenient.verdict, lenient.exit_code) == ("PASS", 0)
    assert lenient.decision.startswith(
        "compression may be switched on by your thresholds; but: 31% of boolq's answers"
    )
    assert lenient.decision.endswith("try int8_hadamard (`--codec int8_hadamard`; see `nox -s study`)")


def test_a_decision_without_warnings_and_one_against(plan: Plan) -> None:
    assert build_report(finished(plan)).decision == "compression may be switched on by your thresholds"
    rewrite_samples(run_folder(plan).arm("compressed").samples("boolq"), boolq(*range(60)))
    assert build_report(run_folder(plan)).decision.startswith(
        "compression is not to be switched on by your thresholds"
    )


def test_a_reused_baselines_command_is_not_told_as_one_that_ran(tmp_path: Path) -> None:
    report = build_report(finished(make(tmp_path, reuse_baseline=tmp_path / "then")))
    assert report.arms["baseline"].command == f"# not started in this run: taken from {tmp_path / 'then'}"
    assert "sglang serve" in report.arms["compressed"].command


def test_a_report_that_is_built_again_writes_through_no_link(plan: Plan, tmp_path: Path) -> None:
    folder = finished(plan)
    mine = tmp_path / "mine"
    mine.write_text("untouched")
    for file in (folder.report, folder.markdown, folder.plots):
        file.symlink_to(mine)
        file.with_name(file.name + ".partial").symlink_to(mine)
    write_report(build_report(folder), folder)
    assert mine.read_text() == "untouched"
    assert not any(file.is_symlink() for file in (folder.report, folder.markdown, folder.plots))


def test_what_a_server_said_steers_nothing_in_any_form(plan: Plan) -> None:
    folder = finished(plan)
    write_run(plan, errors=["compressed: the server ended\n  ::error::stolen\n\x1b[2Jgone ##[group]"])
    report = build_report(folder)
    assert report.reasons[0] == "compressed: the server ended\n  : :error::stolen\n?gone # #[group]"
