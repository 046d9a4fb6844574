"""Requests that failed, answers without numbers and answers that were cut: what the verdict makes of them."""

import pytest

from harness.config.thresholds import Threshold
from harness.plan.plan import Plan
from harness.records.predictions import CompareLine
from harness.records.run_folder import RunFolder
from harness.report.build import build_report
from harness.serve.answers import NoNumbers
from tests.answers import boolq, failed, make_sample, rewrite_samples
from tests.runs import finished, reasons


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
    file = folder.arm("compressed").compared
    first, *others = file.read_text().splitlines(keepends=True)
    text = CompareLine.model_validate_json(first).text
    broken = CompareLine(policy=0, text=text, not_measured="its predictions are no numbers", no_numbers=True)
    file.write_text(broken.model_dump_json() + "\n" + "".join(others))
    verdict, _, why = reasons(folder)
    assert verdict == "ERROR"
    assert "beside that, FAIL: fidelity: the compressed arm gives no numbers for 1 of 64 texts" in why


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
