"""Runs of suites: in which environment, with what, and to which exit code."""

import sys
from collections.abc import Callable

import pytest

import environments
import suite_runs
from tests.sessions.notes import HARNESS, Answer, Notes

SuiteRun = Callable[..., Notes]
DEVICES = {"smollm2-cpu": "cpu", "x-npu": "npu", "/own/suite.yaml": "cpu"}


@pytest.fixture
def suite_run(notes_of: Callable[..., Notes]) -> SuiteRun:
    """Run a suite, which ends with the code given."""

    def suite_run(*arguments: str, code: int = 0, comes_to: int | None = None) -> Notes:
        listing = (*HARNESS, "suites")
        answers: dict[tuple[str, ...], Answer] = {
            **{(*listing, name): f"{name}\t{device}\tmodel\t-\n" for name, device in DEVICES.items()},
            (*listing, "no-such-suite"): f"no-such-suite\t{suite_runs.BROKEN}\t-\tcannot be read\n",
            (*HARNESS, "accuracy"): code,
        }
        notes = notes_of(answers=answers)
        assert notes.code_of(suite_runs.run_accuracy, arguments) == (code if comes_to is None else comes_to)
        # What the harness itself knows goes to it as it was given.
        assert notes.ran == [("harness", [*HARNESS, "accuracy", *arguments])]
        assert notes.environments[0]["HARNESS_PLUGIN_PATH"] == str(environments.plugin_folder())
        return notes

    return suite_run


def interpreter(notes: Notes) -> str:
    """Return the interpreter that the servers get."""
    return notes.name_of(notes.environments[0]["HARNESS_SERVER_PYTHON"])


@pytest.mark.parametrize(
    ("arguments", "python"),
    [
        ([], "server-cpu"),
        (["--suite", "smollm2-cpu", "--limit", "4"], "server-cpu"),
        (["--suite=smollm2-cpu", "--server-python=/theirs/python"], "/theirs/python"),
        (["--suite", "x-npu"], sys.executable),
        (["--suite", "/own/suite.yaml"], "server-cpu"),
        (["--suite=x-npu", "--server-python", "/theirs/python"], "/theirs/python"),
        # The harness itself refuses it, with the list of those there are.
        (["--suite", "no-such-suite"], sys.executable),
    ],
)
def test_servers_run_in_the_environment_of_the_suites_device(
    suite_run: SuiteRun, arguments: list[str], python: str
) -> None:
    assert interpreter(suite_run(*arguments)) == python


@pytest.mark.parametrize("suite", ["smollm2-cpu", "x-npu"])
def test_an_interpreter_that_the_environment_names_is_taken_unless_an_option_names_another(
    suite_run: SuiteRun, monkeypatch: pytest.MonkeyPatch, suite: str
) -> None:
    monkeypatch.setenv("HARNESS_SERVER_PYTHON", "/named/python")
    assert interpreter(suite_run("--suite", suite)) == "/named/python"
    assert interpreter(suite_run("--suite", suite, "--server-python", "/theirs/python")) == "/theirs/python"


def test_a_release_and_an_interpreter_are_not_both_taken(notes_of: Callable[..., Notes]) -> None:
    notes = notes_of()
    both = ["--sglang", "0.5.16", "--server-python=/theirs/python"]
    assert (notes.code_of(suite_runs.run_accuracy, both), notes.ran) == (environments.ERROR, [])


def test_help_is_the_harnesss_own_and_needs_no_server(notes_of: Callable[..., Notes]) -> None:
    notes = notes_of()
    assert notes.code_of(suite_runs.run_accuracy, ["--suite", "x-npu", "--help"], command="calibrate") == 0
    assert (notes.ran, notes.environments) == ([("harness", [*HARNESS, "calibrate", "--help"])], [{}])


@pytest.mark.parametrize("code", [-9, 137, 70])
def test_a_harness_that_was_killed_is_an_error(suite_run: SuiteRun, code: int) -> None:
    suite_run(code=code, comes_to=environments.ERROR)


def test_a_run_that_goes_on_needs_no_environment_but_the_harnesss(suite_run: SuiteRun) -> None:
    assert interpreter(suite_run("--resume", "reports/x")) == sys.executable


@pytest.mark.parametrize(
    ("arguments", "releases"),
    [
        (["--sglang", "0.5.16,0.5.23"], ["0.5.16", "0.5.23"]),
        (["--short"], ["0.5.11", "0.5.16"]),
        ([], [*environments.older_releases(), "0.5.23"]),
    ],
)
def test_compat_looks_at_the_releases_that_are_asked_for_the_oldest_first(
    notes_of: Callable[..., Notes], arguments: list[str], releases: list[str]
) -> None:
    assert environments.older_releases()[0] == "0.5.11"
    assert len(environments.older_releases()) == 12
    notes = notes_of()
    assert notes.code_of(suite_runs.run_compat, arguments) == 0
    assert releases_of(notes) == {
        release: "server-cpu" if release == "0.5.23" else f"sglang-{release}" for release in releases
    }
    assert [argument for argument in notes.ran[-1][1][2:] if not argument.startswith("--release=")] == [
        argument for argument in arguments if argument == "--short"
    ]


def releases_of(notes: Notes) -> dict[str, str]:
    """Return the environments whose interpreters the last command was told, by release."""
    named = [argument.split("=") for argument in notes.ran[-1][1] if argument.startswith("--release=")]
    return {release: notes.name_of(python) for _, release, python in named}


def test_a_fleet_has_the_interpreter_of_each_release_that_its_matrix_names(notes_of: Callable[..., Notes]) -> None:
    matrix = ("night", "--ray", "auto")
    notes = notes_of(answers={(*HARNESS, "fleet"): "0.5.16\n0.5.23\n"})
    assert notes.code_of(suite_runs.run_fleet, matrix) == 0
    assert notes.asked == [[*HARNESS, "fleet", *matrix, "--releases"]]
    [(python, arguments)] = notes.ran
    assert (python, arguments[:6]) == ("fleet", [*HARNESS, "fleet", *matrix])
    assert releases_of(notes) == {"0.5.16": "sglang-0.5.16", "0.5.23": "server-cpu"}
    assert interpreter(notes) == "server-cpu"
    # One that goes on has its interpreters in its plan.
    again = notes_of()
    arguments = ["--resume", "reports/fleet", "--server-python=/theirs/python"]
    assert again.code_of(suite_runs.run_fleet, arguments) == 0
    assert (again.asked, again.ran) == ([], [("fleet", [*HARNESS, "fleet", *arguments])])
    assert interpreter(again) == "/theirs/python"


@pytest.mark.parametrize(("options", "python"), [(["--ray=auto", "--parts", "2"], "fleet"), ([], "harness")])
def test_a_study_that_is_shared_out_has_the_environment_with_ray(
    notes_of: Callable[..., Notes], options: list[str], python: str
) -> None:
    notes, arguments = notes_of(), ["--server-python", "/theirs/python", *options]
    assert notes.code_of(suite_runs.run_accuracy, arguments, command="study") == 0
    assert notes.ran == [(python, [*HARNESS, "study", *arguments])]
