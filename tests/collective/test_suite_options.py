"""The suite's options for somebody else's implementation: it ends early, and says what it left."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def suite(name: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [
        "-m",
        "pytest",
        "suites/numerics",
        "-q",
        "--impl",
        f"suites.numerics.planted.{name}",
        "--ranks",
        "2",
    ]
    return subprocess.run(
        [sys.executable, *command, *options],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_stops_at_the_first_failure_unless_asked_otherwise() -> None:
    first = suite("bugs.edges:nan_swallowed", "--check", "nonfinite")
    assert first.returncode == 1
    assert "1 failed, " in first.stdout
    assert "stopping after 1 failures" in first.stdout
    every = suite("bugs.edges:nan_swallowed", "--check", "nonfinite", "--keep-going")
    assert every.returncode == 1
    assert "3 failed, " in every.stdout


def test_when_its_time_is_up_it_is_inconclusive_and_says_what_was_not_run() -> None:
    cut = suite("correct:plain_steps", "--check", "nonfinite", "--limit-s", "0")
    assert cut.returncode == 2
    assert "0 seconds are up, and 2 of 3 tests were not run: nonfinite 2 " in cut.stdout
    assert "1 passed, " in cut.stdout
    whole = suite("correct:plain_steps", "--check", "nonfinite")
    assert whole.returncode == 0
    assert "3 passed, " in whole.stdout


def test_a_failure_before_the_time_was_up_counts_for_more() -> None:
    cut = suite("bugs.edges:nan_swallowed", "--check", "nonfinite", "--keep-going", "--limit-s", "0")
    assert cut.returncode == 1
    assert "2 of 3 tests were not run" in cut.stdout
    assert "1 failed, " in cut.stdout


def test_a_mistaken_option_is_refused_before_anything_starts() -> None:
    wrong = suite("correct:plain_steps", "--codec", "zip")
    assert wrong.returncode == 4
    assert "no codec is named 'zip'" in wrong.stderr
