"""A night: which suites run, where, and what all of it comes to."""

import re
from collections.abc import Callable

import pytest

import environments
import night
from suite_runs import BROKEN
from tests.sessions.notes import HARNESS, Answer, Notes

NightOf = Callable[..., tuple[Notes, int]]


@pytest.fixture
def night_of(notes_of: Callable[..., Notes]) -> NightOf:
    """Run a night with these suites, its parts ending with the codes given."""

    def night_of(
        *posargs: str, suites: dict[str, str], suite: int = 0, history: int = 0, numerics: int = 0
    ) -> tuple[Notes, int]:
        listed = "".join(f"{name}\t{device}\tmodel\tdescription\n" for name, device in suites.items())
        answers: dict[tuple[str, ...], Answer] = {
            (*HARNESS, "suites", "--judged"): listed,
            (*HARNESS, "accuracy"): suite,
            (*HARNESS, "night"): history,
            ("-m", "pytest"): numerics,
        }
        notes = notes_of(*posargs, answers=answers)
        return notes, notes.code_of(night.run_night)

    return night_of


def asked(notes: Notes) -> list[list[str]]:
    """Return what each run of a suite was asked for."""
    return [arguments[3:] for _, arguments in notes.ran if arguments[:3] == [*HARNESS, "accuracy"]]


def ended(notes: Notes) -> list[str]:
    """Return what the night's end was told, without when it began."""
    python, arguments = notes.ran[-1]
    assert (python, arguments[:3]) == ("harness", [*HARNESS, "night"])
    assert re.fullmatch(r"--began=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", arguments[3])
    return arguments[4:]


@pytest.mark.parametrize(("device", "numeric"), [("cuda", ["--device", "cuda", "-n"]), ("npu", [])])
def test_the_numerics_run_where_the_suites_run(night_of: NightOf, device: str, numeric: list[str]) -> None:
    given = ("--device", device, "--limit", "4", "--keep", "7", "--server-python", "/theirs/python")
    notes, code = night_of(*given, suites={"a": "cpu", "b": device})
    assert code == 0
    python, arguments = notes.ran[0]
    assert python == "/theirs/python"
    assert arguments[: 3 + len(numeric)] == ["-m", "pytest", "suites/numerics", *numeric]
    assert asked(notes) == [["--suite", "b", "--noise-floor", "--limit", "4", "--server-python", "/theirs/python"]]
    assert ended(notes) == ["--keep=7", "--part=numerics=0", "--part=b=0"]


@pytest.mark.parametrize(("history", "suite", "code"), [(1, 0, 1), (0, 2, 2), (1, 2, 1), (3, 1, 3), (-9, 0, 3)])
def test_a_figure_that_got_worse_makes_the_night_red(night_of: NightOf, history: int, suite: int, code: int) -> None:
    notes, came_to = night_of("--reports", "/there", suites={"a": "cpu"}, suite=suite, history=history)
    assert came_to == code
    assert asked(notes) == [["--suite", "a", "--noise-floor", "--reports", "/there"]]
    parts = ["--part=numerics=0", f"--part=a={suite}", "--part=compat=0"]
    assert ended(notes) == [f"--keep={night.KEPT_RUNS}", *parts, "--reports=/there"]
    assert notes.logged[-1] == f"history: exit code {history}"


def test_a_part_without_its_environment_is_an_error_and_the_summary_is_written(
    night_of: NightOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended_nox(*_: object, **__: object) -> int:
        raise SystemExit(environments.ERROR)

    monkeypatch.setattr(night, "run_numerics", ended_nox)
    notes, code = night_of(suites={"a": "cpu"})
    assert code == environments.ERROR
    assert ended(notes)[1:] == ["--part=numerics=3", "--part=a=0", "--part=compat=0"]


@pytest.mark.parametrize(("numerics", "code"), [(1, 1), (2, 3), (5, 3)])
def test_of_pytests_exit_codes_two_mean_what_ours_do(night_of: NightOf, numerics: int, code: int) -> None:
    _, came_to = night_of(suites={"a": "cpu"}, numerics=numerics)
    assert came_to == code


def test_a_suite_that_cannot_be_read_fails_the_night_and_stops_no_other(night_of: NightOf) -> None:
    notes, code = night_of(suites={"a": "cpu", "b": BROKEN})
    assert code == environments.ERROR
    assert asked(notes) == [["--suite", "a", "--noise-floor"]]
    assert ended(notes)[1:] == ["--part=numerics=0", "--part=a=0", "--part=compat=0", "--part=b=3"]
    codes = {"numerics": 0, "a": 0, "compat": 0, "b": 3}
    assert notes.logged[:-1] == [f"{part}: exit code {code}" for part, code in codes.items()]


def test_a_device_that_has_no_suite_is_refused(night_of: NightOf) -> None:
    notes, code = night_of("--device", "npus", suites={"a": "cpu", "b": "npu"})
    assert code == environments.ERROR
    assert notes.logged == ["there is no suite for --device npus; there are suites for: cpu, npu"]
    assert not notes.ran
