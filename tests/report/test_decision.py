"""What a person may do: the commands of the last line are for the run's own suite."""

import pytest

from harness.report.decision import study_command


@pytest.mark.parametrize(
    ("repeat", "study"),
    [
        ("nox -s accuracy", "nox -s study"),
        ("nox -s accuracy -- --limit 8", "nox -s study"),
        (
            "nox -s accuracy -- --suite '/my models/own.yaml' --limit 8",
            "nox -s study -- --suite '/my models/own.yaml'",
        ),
        ("python -m harness accuracy --suite", "nox -s study"),
    ],
)
def test_the_study_is_of_the_runs_own_suite(repeat: str, study: str) -> None:
    assert study_command(repeat) == study
