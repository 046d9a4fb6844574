"""The table of promises, and the words of a failure: both must say what really happened."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from suites import publish
from suites.numerics.planted.catalogue import BUGS, CORRECT
from suites.numerics.promises import PROMISES
from suites.numerics.promises import __main__ as command
from suites.numerics.promises.__main__ import Finding, as_table, examine, main
from suites.numerics.trial.subject import Subject
from suites.numerics.trial.trial import ViolationError
from suites.ranks.pool import Pool

ROOT = Path(__file__).resolve().parents[2]

FEW = ("pointwise_bound", "nonfinite", "bytes_on_the_wire")


@pytest.fixture
def few_promises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "PROMISES", {name: PROMISES[name] for name in FEW})


def bug(name: str) -> Subject:
    [found] = [bug.subject for bug in BUGS if bug.name == name]
    return found


@pytest.mark.usefixtures("few_promises")
def test_a_kept_promise_shows_as_kept_and_a_broken_one_as_broken(pool: Pool) -> None:
    right = examine(pool, CORRECT["plain_steps"], [2], ["bf16", "fp32"])
    assert [finding.promise for finding in right] == list(FEW)
    assert all(finding.kept and finding.cases > 0 for finding in right)
    bound, nonfinite, sent = examine(pool, bug("nan_swallowed"), [2, 3], ["bf16", "fp32"])
    assert bound.kept
    assert sent.kept
    assert not nonfinite.kept
    assert nonfinite.cases == len(nonfinite.violations) == 4
    [row] = [line for line in as_table([bound, nonfinite, sent]).splitlines() if line.startswith("| nonfinite")]
    assert "broken in 4 of 4" in row
    assert "ranks=2 shape=8x130 dtype=bf16 data=nonfinite seed=3" in row
    assert "isn't finite" in row


@pytest.mark.usefixtures("few_promises")
def test_a_crash_is_told_by_its_last_line(pool: Pool) -> None:
    subject = Subject(implementation="operator:not_", codec="int8_token")
    bound, *_ = examine(pool, subject, [2], ["bf16"])
    assert not bound.kept
    assert "not_() takes exactly one argument (2 given)" in as_table([bound])


def test_one_without_a_case_keeps_no_promise() -> None:
    finding = Finding(promise="ties_to_even", cases=0, violations=())
    assert not finding.kept
    assert "no case" in as_table([finding])


@pytest.mark.usefixtures("few_promises")
@pytest.mark.parametrize(("name", "code"), [("correct:plain_steps", 0), ("bugs.sums:rank_missing", 1)])
def test_the_command_writes_its_table_and_ends_with_the_verdict(
    name: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(publish, "REPORTS", tmp_path / "reports")
    implementation = f"suites.numerics.planted.{name}"
    assert main(["--impl", implementation, "--ranks", "2", "--dtypes", "bf16"]) == code
    written = (tmp_path / "reports" / "latest-promises" / "report.md").read_text(encoding="utf-8")
    assert written in capsys.readouterr().out
    assert implementation in written
    assert ("broken in" in written) == bool(code)


def violation(pool: Pool, subject: Subject, promise: str) -> str:
    for case in PROMISES[promise].cases(subject, 2):
        try:
            PROMISES[promise].run(pool, subject, case)
        except ViolationError as raised:
            return str(raised)
    raise AssertionError(f"{subject} keeps {promise}")


def rerun(command: str) -> subprocess.CompletedProcess[str]:
    program, *arguments = shlex.split(command)
    assert program == "python"
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_printed_command_reproduces_the_failure_alone(pool: Pool) -> None:
    told = violation(pool, bug("stripes_out_of_order"), "pointwise_bound").splitlines()
    assert told[0].startswith("pointwise_bound: suites.numerics.planted.bugs.two_shot:stripes_out_of_order")
    assert told[1].startswith("codec int8_token, algorithm two_shot, ranks=2 shape=7x1024 dtype=bf16 data=gaussian")
    assert "seed=1" in told[1]
    assert "worst element (" in told[2]
    assert "bound " in told[2]
    label, _, command = told[3].partition(": ")
    assert label == "reproduce"
    again = rerun(command)
    assert again.returncode == 1
    assert told[2] in again.stdout
    assert "1 failed" in again.stdout
    # The same command of a correct implementation passes: it is the implementation that fails.
    right = rerun(command.replace("bugs.two_shot:stripes_out_of_order", "correct:two_shot"))
    assert right.returncode == 0, right.stdout
    assert "1 passed" in right.stdout
