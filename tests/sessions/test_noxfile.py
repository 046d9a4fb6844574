"""The sessions themselves: what of their arguments goes where."""

from collections.abc import Callable

import pytest

import noxfile
from tests.sessions.notes import HARNESS, Notes

SUITES = "a\tcpu\tmodel\t-\nb\tnpu\tmodel\t-\nc\tnpu\tmodel\t-\n"


@pytest.mark.parametrize("code", [0, 1, 2, 3, 130])
@pytest.mark.parametrize("command", ["accuracy", "calibrate"])
def test_a_suites_exit_code_is_the_sessions(notes_of: Callable[..., Notes], command: str, code: int) -> None:
    notes = notes_of("--suite", "x-npu", answers={(*HARNESS, command): code})
    assert notes.code_of(getattr(noxfile, command).func) == code
    assert notes.ran == [("harness", [*HARNESS, command, "--suite", "x-npu"])]


@pytest.mark.parametrize(
    ("posargs", "asked"),
    [
        (["--device", "npu", "--no-sites"], ["--suite", "b", "--no-sites"]),
        (["--device", "npu", "--suite", "c"], ["--suite", "c"]),
        (["--no-sites"], ["--no-sites"]),
    ],
)
def test_a_study_takes_the_suite_of_a_device(
    notes_of: Callable[..., Notes], posargs: list[str], asked: list[str]
) -> None:
    notes = notes_of(*posargs, answers={(*HARNESS, "suites"): SUITES})
    assert notes.code_of(noxfile.study.func) == 0
    assert notes.ran == [("harness", [*HARNESS, "study", *asked])]


@pytest.mark.parametrize(
    ("posargs", "environments", "options"),
    [
        ([], ["harness", "harness", "fleet", "server-cpu", "server-cpu"], []),
        (["tests/fleet", "-x"], ["fleet"], ["-x"]),
        (["-m", "not server", "-x"], ["harness", "fleet", "server-cpu", "server-cpu"], ["-m", "not server", "-x"]),
        (["tests/stats", "-k", "tango"], ["harness"], ["-k", "tango"]),
        (["tests/collective/test_wire.py::test_x"], ["server-cpu"], []),
    ],
)
def test_what_is_no_path_is_pytests(
    notes_of: Callable[..., Notes], posargs: list[str], environments: list[str], options: list[str]
) -> None:
    notes = notes_of(*posargs)
    assert notes.code_of(noxfile.tests.func) == 0
    prepared, *ran = notes.ran
    assert prepared == ("harness", [*HARNESS, "prepare"])
    assert [environment for environment, _ in ran] == environments
    assert all(arguments[len(arguments) - len(options) :] == options for _, arguments in ran)


@pytest.mark.parametrize(("codes", "of_all"), [((0, 5, 5, 0), 0), ((5, 5, 5, 5), 5), ((0, 5, 5, 1), 1)])
def test_an_environment_without_chosen_tests_fails_nothing(
    notes_of: Callable[..., Notes], codes: tuple[int, ...], of_all: int
) -> None:
    paths = ("tests", "tests/fleet", "tests/collective", "tests/server_side")
    answers = {("-m", "pytest", path): code for path, code in zip(paths, codes, strict=True)}
    assert notes_of("-k", "x", answers=answers).code_of(noxfile.tests.func) == of_all
