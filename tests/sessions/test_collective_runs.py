"""What runs the collective by itself, with what, and what the exit codes come to."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import collective_runs
import environments
from tests.sessions.notes import HARNESS, Answer, Notes

SeveralGpus = Callable[..., tuple[Notes, int]]
COLLECTIVE = ("-m", "suites.speed.multi_gpu")
ACCURACY = (*HARNESS, "accuracy")


@pytest.fixture
def on_gpus(notes_of: Callable[..., Notes]) -> SeveralGpus:
    """Run the session on so many GPUs, its parts ending with the codes given."""

    def on_gpus(*posargs: str, gpus: int = 2, collective: int = 0, suite: int = 0) -> tuple[Notes, int]:
        answers: dict[tuple[str, ...], Answer] = {("-c",): f"GPUs: {gpus}", COLLECTIVE: collective, ACCURACY: suite}
        notes = notes_of(*posargs, answers=answers)
        return notes, notes.code_of(collective_runs.run_multi_gpu)

    return on_gpus


def test_both_parts_run_with_the_interpreter_that_runs_nox(on_gpus: SeveralGpus) -> None:
    notes, code = on_gpus()
    assert code == 0
    assert notes.ran == [
        (sys.executable, [*COLLECTIVE]),
        ("harness", [*ACCURACY, "--suite", "smollm2-cuda", "--no-noise-floor"]),
    ]
    assert notes.environments[0] == {
        "PYTHONPATH": f"{environments.ENVIRONMENTS / 'pytest-tools'}:{environments.ROOT}"
    }
    assert notes.environments[1]["HARNESS_SERVER_PYTHON"] == sys.executable
    assert notes.logged == ["collective: exit code 0", "smollm2-cuda: exit code 0"]


def test_options_go_to_the_part_that_has_them(on_gpus: SeveralGpus) -> None:
    notes, code = on_gpus("--ranks", "2,4", "--limit=8", "--calls=100", "--server-python", "/theirs/python")
    assert code == 0
    suite = ("--suite", "smollm2-cuda", "--no-noise-floor", "--server-python", "/theirs/python", "--limit=8")
    assert notes.ran == [
        ("/theirs/python", [*COLLECTIVE, "--ranks", "2,4", "--calls", "100"]),
        ("harness", [*ACCURACY, *suite]),
    ]


@pytest.mark.parametrize(("gpus", "together"), [(0, False), (2, False), (3, False), (4, True), (8, True)])
def test_with_gpus_for_both_servers_both_are_up_at_once(on_gpus: SeveralGpus, gpus: int, *, together: bool) -> None:
    notes, _ = on_gpus(gpus=gpus)
    assert ("--together" in notes.ran[1][1]) is together
    notes, _ = on_gpus("--together", gpus=gpus)
    assert notes.ran[1][1].count("--together") == 1


@pytest.mark.parametrize(
    ("collective", "suite", "worst"),
    [(0, 1, 1), (1, 0, 1), (0, 2, 2), (1, 2, 1), (0, 3, 3), (1, 3, 3), (2, 0, 3), (-9, 0, 3), (0, 130, 3)],
)
def test_the_worst_code_is_the_sessions(on_gpus: SeveralGpus, collective: int, suite: int, worst: int) -> None:
    notes, code = on_gpus(collective=collective, suite=suite)
    assert code == worst
    assert len(notes.ran) == 2
    assert notes.logged[1] == f"smollm2-cuda: exit code {suite}"


def test_it_can_be_tried_on_a_cpu(on_gpus: SeveralGpus) -> None:
    notes, code = on_gpus("--backend", "gloo", "--device", "cpu", "--suite", "smollm2-cpu", gpus=0)
    assert code == 0
    assert notes.ran == [
        ("server-cpu", [*COLLECTIVE, "--backend", "gloo", "--device", "cpu"]),
        ("harness", [*ACCURACY, "--suite", "smollm2-cpu", "--no-noise-floor"]),
    ]


@pytest.mark.parametrize(
    "arguments", [["-n", "2"], ["-n2"], ["--impl=a:b"], ["--check", "shapes"], ["--backend=nccl"]]
)
def test_the_suite_on_a_gpu_is_shared_out_unless_told_otherwise(arguments: list[str]) -> None:
    option, processes, *_ = collective_runs.side_by_side(["--device", "cuda", "--codec", "none"])
    assert option == "-n"
    assert 1 <= int(processes) <= collective_runs.MOST_PROCESSES
    assert not collective_runs.side_by_side(["--device", "cuda", *arguments])


def test_the_environment_names_the_interpreter_of_the_numerics_but_on_the_cpu(
    notes_of: Callable[..., Notes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_SERVER_PYTHON", "/theirs/python")
    for device, python in (("npu", "/theirs/python"), ("cpu", "server-cpu")):
        notes = notes_of()
        assert notes.code_of(collective_runs.run_numerics, ["-k", "codecs"], device=device) == 0
        [(ran, arguments)] = notes.ran
        assert ran == python
        assert arguments[:5] == ["-m", "pytest", "suites/numerics", "-k", "codecs"]


def test_the_table_is_of_real_activations_unless_a_part_is_asked_for(
    notes_of: Callable[..., Notes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(collective_runs, "ACTIVATIONS", tmp_path / "activations.pt")
    notes = notes_of()
    assert notes.code_of(collective_runs.run_numerics, []) == 0
    capture = ["-m", "harness.run.capture_activations", f"--out={tmp_path / 'activations.pt'}"]
    assert notes.ran[:2] == [("harness", [*HARNESS, "prepare"]), ("harness", capture)]
    assert len(notes.ran) == 3
    notes = notes_of(answers={(*HARNESS, "prepare"): 1})
    assert notes.code_of(collective_runs.run_numerics, []) == environments.ERROR
    notes = notes_of()
    notes.code_of(collective_runs.run_numerics, ["--impl=a:b"])
    assert len(notes.ran) == 1


@pytest.mark.parametrize(
    ("posargs", "python", "module"),
    [
        ([], "server-cpu", ["suites.speed.bench"]),
        (["--device", "cuda"], sys.executable, ["suites.speed.bench", "--device", "cuda"]),
        (["--server", "--rounds", "2"], "stock-client", ["suites.clients", "--rounds", "2"]),
    ],
)
@pytest.mark.parametrize("code", [0, 1])
def test_one_thing_is_timed(
    notes_of: Callable[..., Notes], posargs: list[str], python: str, module: list[str], code: int
) -> None:
    notes = notes_of(*posargs, answers={("-m", module[0]): code})
    assert notes.code_of(collective_runs.run_bench) == code
    assert notes.ran == [(python, ["-m", *module])]
