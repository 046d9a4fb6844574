"""The table of promises, and the words of a failure: both must say what really happened."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from suites.numerics import paper, promises
from suites.numerics.checks import CHECKS
from suites.numerics.cluster import Cluster
from suites.numerics.mutation import EQUIVALENTS, MUTANTS
from suites.numerics.promises import Finding, as_table, examine, main
from suites.numerics.subject import Subject
from suites.numerics.trial import ViolationError

ROOT = Path(__file__).resolve().parents[2]

FEW = ("pointwise_bound", "nonfinite", "bytes_on_the_wire")


@pytest.fixture
def few_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promises, "CHECKS", {name: CHECKS[name] for name in FEW})


def mutant(name: str) -> Subject:
    [found] = [one.subject for one in MUTANTS if one.name == name]
    return found


@pytest.mark.usefixtures("few_checks")
def test_a_kept_promise_shows_as_kept_and_a_broken_one_as_broken(cluster: Cluster) -> None:
    right = examine(cluster, EQUIVALENTS["plain_steps"], [2], ["bf16", "fp32"])
    assert [one.check for one in right] == list(FEW)
    assert all(one.kept and one.cases > 0 for one in right)
    bound, nonfinite, sent = examine(cluster, mutant("nan_swallowed"), [2, 3], ["bf16", "fp32"])
    assert bound.kept
    assert sent.kept
    assert not nonfinite.kept
    assert nonfinite.cases == len(nonfinite.violations) == 4
    row = as_table([bound, nonfinite, sent]).splitlines()[3]
    assert row.startswith("| nonfinite")
    assert "broken in 4 of 4" in row
    assert "ranks=2 shape=8x130 dtype=bf16 data=nonfinite seed=3" in row
    assert "isn't finite" in row


@pytest.mark.usefixtures("few_checks")
def test_a_crash_is_told_by_its_last_line(cluster: Cluster) -> None:
    subject = Subject(implementation="operator:not_", codec="int8_token")
    bound, *_ = examine(cluster, subject, [2], ["bf16"])
    assert not bound.kept
    assert "not_() takes exactly one argument (2 given)" in as_table([bound])


def test_a_check_without_a_case_keeps_no_promise() -> None:
    finding = Finding(check="ties_to_even", cases=0, violations=())
    assert not finding.kept
    assert "no case" in as_table([finding])


@pytest.mark.usefixtures("few_checks")
@pytest.mark.parametrize(("name", "code"), [("equivalents.plain_steps", 0), ("mutants.rank_missing", 1)])
def test_the_command_writes_its_table_and_ends_with_the_verdict(
    name: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(paper, "REPORTS", tmp_path / "reports")
    implementation = f"suites.numerics.{name}:all_reduce"
    assert main(["--impl", implementation, "--ranks", "2", "--dtypes", "bf16"]) == code
    written = (tmp_path / "reports" / "latest-promises" / "report.md").read_text(encoding="utf-8")
    assert written in capsys.readouterr().out
    assert implementation in written
    assert ("broken in" in written) == bool(code)


def violation(cluster: Cluster, subject: Subject, check: str) -> str:
    for case in CHECKS[check].cases(subject, 2):
        try:
            CHECKS[check].run(cluster, subject, case)
        except ViolationError as raised:
            return str(raised)
    raise AssertionError(f"{subject} keeps {check}")


def rerun(command: str) -> subprocess.CompletedProcess[str]:
    program, *arguments = shlex.split(command)
    assert program == "python"
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_printed_command_reproduces_the_failure_alone(cluster: Cluster) -> None:
    told = violation(cluster, mutant("stripes_out_of_order"), "pointwise_bound").splitlines()
    assert told[0].startswith("pointwise_bound: suites.numerics.mutants.stripes_out_of_order:all_reduce")
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
    right = rerun(command.replace("mutants.stripes_out_of_order", "equivalents.two_shot"))
    assert right.returncode == 0, right.stdout
    assert "1 passed" in right.stdout
