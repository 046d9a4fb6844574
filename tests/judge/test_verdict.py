"""The worst of several verdicts, and the run's."""

from itertools import product

import pytest

from harness.judge.verdict import EXIT_CODES, Judged, Verdict, judge_run, worst


def test_exit_codes_are_distinct_and_those_documented() -> None:
    assert EXIT_CODES == {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.INCONCLUSIVE: 2, Verdict.ERROR: 3}


def part(verdict: Verdict, *reasons: str) -> Judged:
    return Judged(verdict=verdict, reasons=reasons or (verdict.lower(),))


@pytest.mark.parametrize(("one", "other"), list(product(EXIT_CODES, repeat=2)))
def test_the_run_is_as_bad_as_its_worst_task(one: Verdict, other: Verdict) -> None:
    order = [Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.FAIL, Verdict.ERROR]
    run = judge_run([part(one), part(other), part(Verdict.REPORTED)], [])
    assert run.verdict is max(one, other, key=order.index)
    beside = ["beside that, FAIL: fail"] if {one, other} == {Verdict.ERROR, Verdict.FAIL} else []
    assert run.reasons == (*(entry.lower() for entry in (one, other) if entry is run.verdict), *beside)


def test_reported_tasks_alone_are_no_pass() -> None:
    run = judge_run([part(Verdict.REPORTED), part(Verdict.REPORTED)], [])
    assert run.verdict is Verdict.INCONCLUSIVE
    assert "nothing was judged" in run.reasons[0]
    assert judge_run([], []).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("verdict", list(Verdict))
def test_an_error_of_the_run_outweighs_every_task(verdict: Verdict) -> None:
    run = judge_run([part(verdict)], ["compression is not proven", "the server died"])
    assert run.verdict is Verdict.ERROR
    assert run.reasons[:2] == ("compression is not proven", "the server died")
    told = {Verdict.ERROR: ("error",), Verdict.FAIL: ("beside that, FAIL: fail",)}
    assert run.reasons[2:] == told.get(verdict, ())


def test_worst_keeps_the_order_of_its_parts() -> None:
    parts = [part(Verdict.FAIL, "a", "b"), part(Verdict.PASS, "c"), part(Verdict.FAIL, "d")]
    assert worst(parts) == part(Verdict.FAIL, "a", "b", "d")
