import json
import math
from pathlib import Path

import pytest

from harness.config.thresholds import FidelityThreshold, Threshold
from harness.errors import HarnessError
from harness.judge.pairing import margin
from harness.plan.plan import Plan
from harness.records.run_folder import RunFolder
from harness.report.build import build_report, merge_like
from harness.report.model import SCHEMA_VERSION
from harness.report.write import write_report
from tests.support import (
    FACTS,
    boolq,
    checked,
    failed,
    finished,
    gsm8k,
    make,
    make_choice,
    make_sample,
    rewrite_samples,
    run_folder,
    tally,
    write_arm,
    write_engagement,
    write_live_check,
    write_run,
)

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
    write_report(again, folder, latest=False)
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


def test_a_failed_request_is_an_error_and_no_wrong_answer(plan: Plan) -> None:
    folder = finished(plan)
    broken = [failed(entry) if entry.doc_id == 7 else entry for entry in boolq()]
    rewrite_samples(folder.arm("compressed").samples("boolq"), broken)
    report = build_report(folder)
    assert (report.verdict, report.exit_code) == ("ERROR", 3)
    assert report.reasons == ["boolq: 1 request failed; a failed request is not a wrong answer"]
    assert (report.tasks["boolq"].n, report.tasks["boolq"].compressed.accuracy) == (127, 1.0)
    assert (report.tasks["boolq"].baseline.failed, report.tasks["boolq"].compressed.failed) == (0, 1)


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
    cut = [make_sample(number, finish_reason="length" if number < 4 else "stop") for number in range(16)]
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


def test_strict_makes_a_warning_a_fail(tmp_path: Path) -> None:
    folder = finished(make(tmp_path, strict=True), likely=0.2)
    report = build_report(folder)
    assert report.warnings
    assert (report.verdict, report.exit_code) == ("FAIL", 1)
    assert report.reasons == [f"strict: {len(report.warnings)} WARNING, each of which is a FAIL"]
    lenient = build_report(finished(make(tmp_path / "lenient"), likely=0.2))
    assert (lenient.verdict, lenient.exit_code) == ("PASS", 0)
    assert lenient.decision.startswith("compression may be switched on by your thresholds; but: predictions moved 0.")
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


def test_arms_that_differ_in_more_than_the_flag(plan: Plan) -> None:
    verdict, _, why = reasons(finished(plan, dtype="float16", port=9, random_seed=4))
    assert verdict == "ERROR"
    assert why == "the arms differ in dtype: None in the baseline, 'float16' in compressed"


def test_a_compressed_server_that_lost_the_known_answer_fails(plan: Plan) -> None:
    verdict, code, why = reasons(finished(plan, known_answer=False))
    assert (verdict, code) == ("FAIL", 1)
    assert "no longer continues 'The capital of France is' with ' Paris'" in why


@pytest.mark.parametrize("name", ["plan.json", "run.json"])
def test_a_folder_that_is_no_run(plan: Plan, name: str) -> None:
    folder = finished(plan)
    (folder.path / name).unlink()
    with pytest.raises(HarnessError, match=f"{name} cannot be read"):
        build_report(folder)


def test_a_wrong_sum_makes_the_run_an_error(plan: Plan) -> None:
    folder = finished(plan)
    samples = [checked(0), checked(1, rest=tally(beyond=1, over_bound=3.0))]
    for rank in (0, 1):
        (folder.arm("compressed").engagement / f"live-rank-{rank}.jsonl").unlink()
    write_live_check(folder.arm("compressed").engagement, samples)
    report = build_report(folder)
    assert report.verdict == "ERROR"
    start = "compression did not run right: compressed arm: "
    assert report.reasons[0].startswith(f"{start}in short, of 2 checked calls beyond the bound: always column 2, ")
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


def test_the_fixed_texts_predictions_are_compared(plan: Plan) -> None:
    folder = finished(plan, likely=0.3)
    report = build_report(folder)
    fidelity = report.fidelity
    assert fidelity is not None
    assert (fidelity.verdict, report.verdict) == ("REPORTED", "PASS")
    assert (fidelity.compressed.texts, fidelity.noise) == (32, None)
    assert fidelity.compressed.overall is not None
    assert fidelity.compressed.overall.kl.mean == pytest.approx(0.6 * math.log(2) + 0.2 * math.log(0.2 / 0.5))
    assert [text for text in report.warnings if text.startswith("predictions of fixed text moved far: ")]
    write_report(report, folder)
    text = folder.markdown.read_text()
    assert "| all | 384 | 0.233 (0.233 to 0.233) |" in text
    assert "| gsm8k/9 | " not in text
    assert "| boolq/0 | 0 | `''` | `' 1'` | 0.233 | `' one'` | `' one'` |" in text


def test_predictions_of_a_baseline_and_its_double(tmp_path: Path) -> None:
    plan = make(tmp_path, noise_floor=True)
    folder = finished(plan, likely=0.3)
    write_arm(plan, "baseline-again", {"boolq": boolq(3, 4), "gsm8k": gsm8k()}, likely=0.3)
    fidelity = build_report(folder).fidelity
    assert fidelity is not None
    assert fidelity.noise is not None
    assert fidelity.noise.overall == fidelity.compressed.overall
    # It moves as far by itself.
    assert fidelity.warnings == []


def test_predictions_are_judged_where_there_is_a_threshold(plan: Plan) -> None:
    assert plan.fidelity is not None
    row = FidelityThreshold(max_mean_kl=0.1, source="a test")
    judged = plan.model_copy(update={"fidelity": plan.fidelity.model_copy(update={"threshold": row})})
    report = build_report(finished(judged, likely=0.3))
    assert (report.verdict, report.exit_code) == ("FAIL", 1)
    assert report.reasons[0].startswith(
        "fidelity: mean KL divergence 0.2326 nats, allowed 0.1: the true value is above"
    )


def test_missing_predictions_are_an_error(plan: Plan) -> None:
    folder = finished(plan)
    file = folder.arm("compressed").predictions
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:9]))
    verdict, code, why = reasons(folder)
    assert (verdict, code) == ("ERROR", 3)
    assert "fidelity: 23 of 32 texts are missing in the compressed arm" in why
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
