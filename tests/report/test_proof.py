"""What is not proven to have run, or to have run right, is an ERROR."""

from pathlib import Path
from typing import Any

from rich.console import Console

from harness.judge.alike import merge_like
from harness.plan.plan import Plan
from harness.records.run_folder import RunFolder
from harness.report.build import build_report
from harness.report.terminal import show
from harness.report.write import write_report
from tests.rank_logs import checked, tally, write_engagement, write_live_check
from tests.runs import finished, reasons, write_run
from tests.support import make


def rewrite_live_check(folder: RunFolder, *samples: dict[str, Any]) -> None:
    """Have the compressed arm's ranks have checked these calls alone."""
    engagement = folder.arm("compressed").engagement
    for rank in (0, 1):
        (engagement / f"live-rank-{rank}.jsonl").unlink()
    write_live_check(engagement, samples)


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
    rewrite_live_check(folder, checked(0), checked(1, rest=tally(beyond=1, over_bound=3.0)))
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
    rewrite_live_check(folder, checked(0), checked(1))
    verdict, _, why = reasons(folder)
    assert verdict == "ERROR"
    assert "it is not proven that compression ran right: compressed arm: no call of layer 1, attention was" in why


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


def test_a_wrong_sum_makes_the_run_an_error(plan: Plan) -> None:
    folder = finished(plan)
    rewrite_live_check(folder, checked(0), checked(1, rest=tally(beyond=1, over_bound=3.0)))
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
