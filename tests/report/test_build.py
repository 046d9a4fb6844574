import json
import math
from pathlib import Path

import pytest
from rich.console import Console

from harness.config.thresholds import FidelityThreshold, Threshold
from harness.errors import HarnessError
from harness.judge.alike import merge_like
from harness.judge.pairing import margin
from harness.plan.plan import Plan
from harness.records.predictions import TextRecord, read_predictions
from harness.records.run import CUT_OFF, RunRecord, read_record, write_record
from harness.records.run_folder import RunFolder
from harness.report.build import build_report
from harness.report.model import SCHEMA_VERSION
from harness.report.terminal import show
from harness.report.write import write_report
from harness.serve.answers import NoNumbers
from tests.answers import binary_kl, boolq, failed, gsm8k, make_choice, make_sample, rewrite_samples
from tests.rank_logs import FACTS, checked, tally, write_engagement, write_live_check
from tests.runs import finished, write_arm, write_run
from tests.support import make, run_folder

ARMS = ("baseline", "compressed")
ARM_SECONDS = {"start": 12.3, "boolq": 5.0, "gsm8k": 5.0}


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return make(tmp_path)


def reasons(folder: RunFolder) -> tuple[str, int, str]:
    report = build_report(folder)
    return report.verdict, report.exit_code, "\n".join(report.reasons)


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
    for arm in ("baseline", "compressed"):
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


def with_failed(
    folder: RunFolder, documents: range, arm: str = "compressed", *wrong: int, error: str = "HTTP 500"
) -> None:
    """Have the requests of some of boolq's documents fail in an arm that else answers all but some rightly."""
    samples = boolq(*wrong)
    broken = [
        failed(entry).model_copy(update={"error": error}) if entry.doc_id in documents else entry for entry in samples
    ]
    rewrite_samples(folder.arm(arm).samples("boolq"), broken)


def test_a_failed_request_is_no_wrong_answer_and_the_verdict_stands_if_it_would_either_way(plan: Plan) -> None:
    folder = finished(plan)
    with_failed(folder, range(7, 8))
    report = build_report(folder)
    assert (report.verdict, report.exit_code) == ("PASS", 0)
    assert report.warnings[0].startswith(
        "boolq: 1 requests failed, the first of document 7: HTTP 500; the verdict is"
    )
    assert (report.tasks["boolq"].n, report.tasks["boolq"].compressed.accuracy) == (127, 1.0)
    assert (report.tasks["boolq"].baseline.failed, report.tasks["boolq"].compressed.failed) == (0, 1)


def test_failed_requests_that_could_turn_the_verdict_are_an_error(plan: Plan) -> None:
    folder = finished(plan)
    with_failed(folder, range(40))
    verdict, code, why = reasons(folder)
    assert (verdict, code) == ("ERROR", 3)
    assert (
        "boolq: 40 requests failed, the first of document 0: HTTP 500; judged with failed requests at their " in why
    )
    assert "worst for compression the verdict were FAIL, at their best PASS" in why


def test_failed_requests_do_not_hide_harm(plan: Plan) -> None:
    folder = finished(plan)
    with_failed(folder, range(3), "compressed", *range(64, 128))
    report = build_report(folder)
    assert (report.verdict, report.exit_code) == ("FAIL", 1)
    assert report.reasons[0].endswith("(failed requests at their worst)")
    # Where the run as a whole is an ERROR, harm is told beside it.
    (folder.arm("compressed").engagement / "rank-1.jsonl").unlink()
    verdict, _, why = reasons(folder)
    assert verdict == "ERROR"
    assert "beside that, FAIL: boolq: accuracy changed by " in why


def test_a_compressed_arm_without_numbers_fails_and_a_baseline_without_them_is_an_error(plan: Plan) -> None:
    folder = finished(plan)
    error = str(NoNumbers("token 5", None))
    with_failed(folder, range(2), error=error)
    verdict, code, why = reasons(folder)
    assert (verdict, code) == ("FAIL", 1)
    assert why.startswith(
        "boolq: the compressed arm gives no numbers for 2 of 128 questions for which the baseline does; the server "
        "gives no numbers: the log-probability of token 5 is None"
    )
    with_failed(folder, range(2), "baseline", error=error)
    verdict, code, why = reasons(folder)
    assert (verdict, code) == ("ERROR", 3)
    assert why.startswith("boolq: the baseline gives no numbers: the model or its settings are broken, before any")


def test_texts_without_numbers_fail(plan: Plan) -> None:
    folder = finished(plan)
    file = folder.arm("compressed").predictions
    first = read_predictions(file)[0]
    broken = TextRecord(text=first.text, text_hash=first.text_hash, error=str(NoNumbers("token 5", None)))
    file.write_text(broken.model_dump_json() + "\n" + "".join(file.read_text().splitlines(keepends=True)[1:]))
    verdict, _, why = reasons(folder)
    assert verdict == "ERROR"
    assert "beside that, FAIL: fidelity: the compressed arm gives no numbers for 1 of 64 texts" in why


def test_a_log_that_was_cut_between_two_passes_is_no_proof(plan: Plan) -> None:
    folder = finished(plan)
    for rank in (0, 1):
        file = folder.arm("compressed").engagement / f"rank-{rank}.jsonl"
        file.write_text("".join(file.read_text().splitlines(keepends=True)[:-3]))
    verdict, code, why = reasons(folder)
    assert (verdict, code) == ("ERROR", 3)
    assert (
        "compressed arm: ranks 0, 1 logged prefills of 6 tokens; the 3 answers and the server's own start took 10"
        in why
    )


def test_a_baseline_with_many_times_the_prefills_is_no_proof(plan: Plan) -> None:
    folder = finished(plan)
    for rank in (0, 1):
        file = folder.arm("baseline").engagement / f"rank-{rank}.jsonl"
        file.write_text(file.read_text() + 50 * '{"policy": 0, "mode": "EXTEND", "tokens": 10}\n')
    verdict, _, why = reasons(folder)
    assert verdict == "ERROR"
    assert "baseline arm: ranks 0, 1 logged prefills of 510 tokens" in why


def test_ranks_that_say_none_are_no_proof(plan: Plan) -> None:
    folder = finished(plan)
    for rank in (0, 1):
        file = folder.arm("compressed").engagement / f"rank-{rank}.jsonl"
        file.write_text(file.read_text().replace('"codec": "int8_token"', '"codec": "none"'))
    verdict, _, why = reasons(folder)
    assert verdict == "ERROR"
    assert "compressed arm: ranks 0, 1 ran with codec=none, not int8_token" in why


@pytest.mark.parametrize("gone", [("baseline",), ("compressed",), ARMS])
def test_a_run_without_the_arms_records_is_an_error(plan: Plan, gone: tuple[str, ...]) -> None:
    folder = finished(plan)
    for arm in gone:
        folder.arm(arm).record.unlink()
    report = build_report(folder)
    assert (report.verdict, report.exit_code) == ("ERROR", 3)
    assert report.reasons[: len(gone)] == [
        f"{arm} arm: it left no record (arm.json), so that nobody knows what its server was" for arm in gone
    ]


def test_a_run_without_live_check_is_warned_of_in_every_form(tmp_path: Path) -> None:
    folder = finished(make(tmp_path, live_check=False))
    report = build_report(folder)
    assert report.verdict == "PASS"
    assert report.warnings[0].startswith("no compressed sum was checked: the live check was off (--no-live-check")
    write_report(report, folder)
    console = Console(width=200, record=True)
    show(report, console, folder)
    for text in (folder.report.read_text(), folder.markdown.read_text(), console.export_text()):
        assert "no compressed sum was checked" in text
        assert "WARNING" in text or text.startswith("{")


def test_a_wrong_sum_is_told_before_the_server_that_died_of_it(plan: Plan) -> None:
    folder = finished(plan)
    samples = [checked(0), checked(1, rest=tally(beyond=1, over_bound=3.0))]
    for rank in (0, 1):
        (folder.arm("compressed").engagement / f"live-rank-{rank}.jsonl").unlink()
    write_live_check(folder.arm("compressed").engagement, samples)
    write_run(plan, errors=["compressed: the server ended with exit code 7 during the run"])
    report = build_report(folder)
    assert report.verdict == "ERROR"
    start = "compression did not run right: compressed arm: "
    assert report.reasons[0].startswith(
        f"{start}in short, 2 of 4 checked calls are beyond the bound, up to 3 times as far as it allows: "
    )
    assert report.reasons[1].startswith(f"{start}ranks 0, 1, layer 0, ffn")
    died = report.reasons.index("compressed: the server ended with exit code 7 during the run")
    assert died > 1


def test_a_live_check_that_was_cut_is_no_proof(plan: Plan) -> None:
    folder = finished(plan)
    for rank in (0, 1):
        (folder.arm("compressed").engagement / f"live-rank-{rank}.jsonl").unlink()
    write_live_check(folder.arm("compressed").engagement, [checked(0), checked(1)])
    verdict, _, why = reasons(folder)
    assert verdict == "ERROR"
    assert "it is not proven that compression ran right: compressed arm: no call of layer 1, attention was" in why


def test_answers_cut_by_length_are_counted_per_arm(plan: Plan) -> None:
    folder = finished(plan)
    cut = [make_sample(number, finish_reason="length" if number < 4 else "stop") for number in range(16)]
    rewrite_samples(folder.arm("compressed").samples("gsm8k"), cut)
    report = build_report(folder)
    assert (report.tasks["gsm8k"].baseline.truncated, report.tasks["gsm8k"].compressed.truncated) == (
        0.0,
        0.25,
    )
    assert report.tasks["boolq"].compressed.truncated is None
    assert "gsm8k: 25% of the compressed arm's answers ended at the token cap" in report.notes


@pytest.mark.parametrize(("arm", "verdict"), [("baseline", "PASS"), ("compressed", "FAIL")])
def test_the_gate_on_answers_cut_by_length_is_the_compressed_arms(plan: Plan, arm: str, verdict: str) -> None:
    threshold = Threshold(metric="exact_match,last-number", floor=0.5, max_truncated=0.2, source="here")
    gated = plan.tasks["gsm8k"].model_copy(update={"threshold": threshold})
    folder = finished(plan.model_copy(update={"tasks": {**plan.tasks, "gsm8k": gated}}))
    cut = [make_sample(number, finish_reason="length" if number < 12 else "stop") for number in range(16)]
    rewrite_samples(folder.arm(arm).samples("gsm8k"), cut)
    assert build_report(folder).tasks["gsm8k"].verdict == verdict


@pytest.mark.parametrize("arm", ARMS)
def test_missing_samples(plan: Plan, arm: str) -> None:
    folder = finished(plan)
    folder.arm(arm).samples("gsm8k").unlink()
    verdict, code, why = reasons(folder)
    assert (verdict, code) == ("ERROR", 3)
    assert why.startswith(f"gsm8k: {arm} arm: ")
    assert "that task was not finished" in why


@pytest.mark.parametrize("text", ["", "{\n"])
def test_cut_off_samples(plan: Plan, text: str) -> None:
    folder = finished(plan)
    file = folder.arm("compressed").samples("boolq")
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:9]) + text)
    verdict, code, why = reasons(folder)
    assert (verdict, code) == ("ERROR", 3)
    assert ("119 questions are in one arm only" in why) is not bool(text)
    assert ("samples-boolq.jsonl:10: is not a sample" in why) is bool(text)


def test_fewer_questions_than_planned_in_both_arms(plan: Plan) -> None:
    folder = finished(plan)
    for arm in ARMS:
        rewrite_samples(folder.arm(arm).samples("boolq"), boolq()[:100])
    assert reasons(folder) == ("ERROR", 3, "boolq: 28 of 128 questions are missing")


def test_another_filters_samples_are_not_judged(plan: Plan) -> None:
    folder = finished(plan)
    for arm in ARMS:
        strict = [make_sample(number, right=False, filter="strict") for number in range(16)]
        rewrite_samples(folder.arm(arm).samples("gsm8k"), [*gsm8k(), *strict])
    task = build_report(folder).tasks["gsm8k"]
    assert (task.n, task.baseline.accuracy) == (16, 1.0)


def test_a_missing_log_of_a_rank_is_an_error(plan: Plan) -> None:
    folder = finished(plan)
    (folder.arm("compressed").engagement / "rank-1.jsonl").unlink()
    verdict, code, why = reasons(folder)
    assert (verdict, code) == ("ERROR", 3)
    assert why.startswith("compression is not proven: compressed arm: rank 1 left no proof")


def test_a_baseline_that_compressed_is_an_error(plan: Plan) -> None:
    folder = finished(plan)
    for file in folder.arm("baseline").engagement.iterdir():
        file.unlink()
    write_engagement(folder.arm("baseline").engagement, compressed=True)
    verdict, _, why = reasons(folder)
    assert verdict == "ERROR"
    assert "compression is not proven: baseline arm: ranks 0, 1 compressed 24 times" in why
    # The two ranks' like faults are one, and the decision says that nothing counts.
    assert why.count("compressed 24 times") == 1
    assert build_report(folder).decision.startswith("decides nothing, and no figure counts")


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


def test_the_rank_that_errors_share_is_merged_and_another_one_stays() -> None:
    told = ["rank 0: not the bits that rank 0 served", "rank 1: not the bits that rank 0 served", "other"]
    assert merge_like(told) == ["ranks 0, 1: not the bits that rank 0 served", "other"]
    passes = ["rank 0 compressed 60 times", "rank 0 compressed 60 times", "rank 1 compressed 60 times"]
    assert merge_like(passes) == ["ranks 0, 1 compressed 60 times"]


def test_arms_that_differ_in_more_than_the_flag(plan: Plan) -> None:
    verdict, _, why = reasons(finished(plan, dtype="float16", port=9, random_seed=4))
    assert verdict == "ERROR"
    assert why == "the arms differ in dtype: None in the baseline, 'float16' in compressed"


def test_a_compressed_server_that_lost_the_known_answer_fails(plan: Plan) -> None:
    verdict, code, why = reasons(finished(plan, known_answer=False))
    assert (verdict, code) == ("FAIL", 1)
    assert "no longer continues 'The capital of France is' with ' Paris'" in why


def test_a_folder_that_is_no_run(plan: Plan) -> None:
    folder = finished(plan)
    folder.plan.unlink()
    with pytest.raises(HarnessError, match=r"plan.json cannot be read"):
        build_report(folder)


@pytest.mark.parametrize("content", [None, "", '{"started": '])
def test_a_run_without_its_record_is_an_error_whatever_it_measured(plan: Plan, content: str | None) -> None:
    folder = finished(plan)
    folder.run.unlink()
    if content is not None:
        folder.run.write_text(content)
    report = build_report(folder)
    assert (report.verdict, report.exit_code) == ("ERROR", 3)
    assert "run.json" in report.reasons[0]
    assert report.tasks["boolq"].n == 128


def test_a_run_that_never_said_that_it_ended_was_cut_off(plan: Plan) -> None:
    folder = finished(plan)
    record = read_record(folder.run, RunRecord)
    write_record(folder.run, record.model_copy(update={"state": "running"}))
    report = build_report(folder)
    assert (report.verdict, report.reasons[0]) == ("ERROR", CUT_OFF)
    assert report.tasks["boolq"].n == 128


def test_a_report_says_how_often_its_run_was_resumed(plan: Plan) -> None:
    folder = finished(plan)
    record = read_record(folder.run, RunRecord)
    write_record(folder.run, record.model_copy(update={"resumed": ["2026-01-01: the power failed"]}))
    assert "the run was resumed after it had ended: 2026-01-01: the power failed" in build_report(folder).notes


def test_a_wrong_sum_makes_the_run_an_error(plan: Plan) -> None:
    folder = finished(plan)
    samples = [checked(0), checked(1, rest=tally(beyond=1, over_bound=3.0))]
    for rank in (0, 1):
        (folder.arm("compressed").engagement / f"live-rank-{rank}.jsonl").unlink()
    write_live_check(folder.arm("compressed").engagement, samples)
    report = build_report(folder)
    assert report.verdict == "ERROR"
    start = "compression did not run right: compressed arm: "
    assert report.reasons[0].startswith(f"{start}in short, 2 of 4 checked calls are beyond the bound, ")
    assert "up to 3 times as far as it allows: always column 2, " in report.reasons[0]
    assert report.reasons[1].startswith(f"{start}ranks 0, 1, layer 0, ffn: 1 of 32 elements are further")


def test_the_live_check_is_of_the_compressed_arm_alone(plan: Plan) -> None:
    report = build_report(finished(plan))
    assert report.arms["baseline"].live_check is None
    checked_sums = report.arms["compressed"].live_check
    assert checked_sums is not None
    assert checked_sums.faults == []


def test_an_implementation_under_test_is_named(plan: Plan) -> None:
    folder = finished(plan)
    engagement = folder.arm("compressed").engagement
    for rank in (0, 1):
        (engagement / f"rank-{rank}.jsonl").unlink()
    write_engagement(engagement, compressed=True, implementation="some.kernel:all_reduce")
    note = "implementation under test: some.kernel:all_reduce, which claims to be int8_token (one_shot)"
    assert note in build_report(folder).notes


def judged_by(plan: Plan, row: FidelityThreshold | None) -> Plan:
    """Return the plan with another row for the predictions of fixed text."""
    assert plan.fidelity is not None
    return plan.model_copy(update={"fidelity": plan.fidelity.model_copy(update={"threshold": row})})


def test_the_fixed_texts_predictions_are_compared(plan: Plan) -> None:
    folder = finished(judged_by(plan, None), likely=0.3)
    report = build_report(folder)
    fidelity = report.fidelity
    assert fidelity is not None
    assert (fidelity.verdict, report.verdict) == ("REPORTED", "PASS")
    assert (fidelity.compressed.texts, fidelity.noise) == (64, None)
    assert fidelity.compressed.overall is not None
    assert fidelity.compressed.overall.kl.mean == pytest.approx(binary_kl(math.log(0.6), math.log(0.3)))
    assert [text for text in report.warnings if text.startswith("predictions of fixed text moved far: ")]
    write_report(report, folder)
    text = folder.markdown.read_text()
    assert "| all | 768 | 0.192 (0.192 to 0.192) |" in text
    assert "| gsm8k/9 | " not in text
    assert "| boolq/0 | 0 | `''` | `' 1'` | 0.192 | `' one'` | `' one'` |" in text


def test_predictions_of_a_baseline_and_its_double(tmp_path: Path) -> None:
    plan = judged_by(make(tmp_path, noise_floor=True), None)
    folder = finished(plan, likely=0.3)
    write_arm(plan, "baseline-again", {"boolq": boolq(3, 4), "gsm8k": gsm8k()}, likely=0.3)
    fidelity = build_report(folder).fidelity
    assert fidelity is not None
    assert fidelity.noise is not None
    assert fidelity.noise.overall == fidelity.compressed.overall
    # It moves as far by itself.
    assert fidelity.warnings == []


def test_predictions_are_judged_where_there_is_a_threshold(plan: Plan) -> None:
    folder = finished(judged_by(plan, FidelityThreshold(max_mean_kl=0.1, source="a test")), likely=0.3)
    report = build_report(folder)
    assert (report.verdict, report.exit_code) == ("FAIL", 1)
    assert report.reasons[0].startswith(
        "fidelity: mean KL divergence 0.192 nats a token, allowed 0.1: the true value is above"
    )


def test_what_the_default_models_row_accepts_is_what_is_known(plan: Plan) -> None:
    folder = finished(plan)
    report = build_report(folder)
    assert report.fidelity is not None
    assert report.fidelity.verdict == "PASS"
    assert report.fidelity.reasons[-1].startswith("fidelity: no worse than known: int8_token, one_shot")
    write_report(report, folder)
    text = folder.markdown.read_text()
    assert "| accepted | 0.08 | 0.3 | 0.05 | 0.85 |" in text
    assert "| known | 0.0667 | 0.177 | 0.0314 | 0.876 |" in text
    assert "| seen | 0 | 0 | 0 | 1 |" in text


def test_texts_that_the_server_did_not_compare_are_an_error(plan: Plan) -> None:
    folder = finished(plan)
    file = folder.arm("compressed").compared
    file.write_text("".join(file.read_text().splitlines(keepends=True)[1:]))
    verdict, code, why = reasons(folder)
    assert (verdict, code) == ("ERROR", 3)
    assert "fidelity: the compressed arm's server did not compare gsm8k/0: nothing of it was written" in why


def test_missing_predictions_are_an_error(plan: Plan) -> None:
    folder = finished(plan)
    file = folder.arm("compressed").predictions
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:9]))
    verdict, code, why = reasons(folder)
    assert (verdict, code) == ("ERROR", 3)
    assert "fidelity: 55 of 64 texts are missing in the compressed arm" in why
    file.unlink()
    verdict, code, why = reasons(folder)
    assert (verdict, code) == ("ERROR", 3)
    assert why.startswith("fidelity: compressed arm: ")
    assert why.count("fidelity: ") == 1


def test_a_run_without_fixed_texts_says_nothing_of_them(plan: Plan) -> None:
    folder = finished(plan.model_copy(update={"fidelity": None}))
    report = build_report(folder)
    assert report.fidelity is None
    write_report(report, folder)
    assert "fixed text" not in folder.markdown.read_text()


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
