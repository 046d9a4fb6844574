"""The sessions: what they run, with what, and what their exit codes come to."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nox
import pytest

import environments
import noxfile

RUN_COMPAT = noxfile.run_compat


class Session:
    """Notes what a session would run; the parts end with the codes given."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, *, collective: int = 0, suite: int = 0, gpus: int = 2
    ) -> None:
        self.ran: list[tuple[str, list[str]]] = []
        self.environments: list[dict[str, str]] = []
        self.logged: list[str] = []
        self._codes = (collective, suite)
        monkeypatch.setattr(noxfile, "run", self._run)
        monkeypatch.setattr(noxfile, "run_accuracy", self._run_accuracy)
        monkeypatch.setattr(noxfile, "run_compat", lambda *_: 0)
        monkeypatch.setattr(noxfile, "gpus", lambda *_: gpus)
        monkeypatch.setattr(noxfile, "pytest_for", lambda *_: Path("/tools"))
        monkeypatch.setattr(noxfile, "server_cpu_environment", lambda _: Path("/server-cpu/python"))
        monkeypatch.setattr(noxfile, "harness_environment", lambda _: Path("/harness/python"))
        monkeypatch.setattr(noxfile, "fleet_environment", lambda _, **__: Path("/fleet/python"))
        for name in ("HARNESS_SERVER_PYTHON", "PYTHONPATH"):
            monkeypatch.delenv(name, raising=False)

    def __call__(self, *posargs: str) -> int:
        session: Any = SimpleNamespace(posargs=list(posargs), log=self.logged.append)
        try:
            noxfile.multi_gpu.func(session)
        except SystemExit as end:
            return int(end.code or 0)
        return 0

    def _run(self, _session: nox.Session, python: Path, *arguments: str, env: dict[str, str] | None = None) -> int:
        self.ran.append((str(python), list(arguments)))
        self.environments.append(env or {})
        return self._codes[0]

    @property
    def night(self) -> list[str]:
        """What the night's end was told, without when it began."""
        [ended] = [arguments for python, arguments in self.ran if python == "/harness/python"]
        assert ended[:3] == ["-m", "harness", "night"]
        assert re.fullmatch(r"--began=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", ended[3])
        return ended[4:]

    def _run_accuracy(self, _session: nox.Session, arguments: Sequence[str]) -> int:
        self.ran.append(("accuracy", list(arguments)))
        return self._codes[1]


def test_both_parts_run_with_the_interpreter_that_runs_nox(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(monkeypatch)
    assert session() == 0
    assert session.ran == [
        (sys.executable, ["-m", "suites.speed.multi_gpu"]),
        ("accuracy", ["--suite", "smollm2-cuda", "--no-noise-floor"]),
    ]
    assert session.environments == [{"PYTHONPATH": f"/tools:{environments.ROOT}"}]
    assert session.logged == ["collective: exit code 0", "smollm2-cuda: exit code 0"]


def test_options_go_to_the_part_that_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(monkeypatch)
    assert session("--ranks", "2,4", "--limit=8", "--calls=100", "--server-python", "/theirs/python") == 0
    assert session.ran == [
        ("/theirs/python", ["-m", "suites.speed.multi_gpu", "--ranks", "2,4", "--calls", "100"]),
        (
            "accuracy",
            ["--suite", "smollm2-cuda", "--no-noise-floor", "--server-python", "/theirs/python", "--limit=8"],
        ),
    ]


@pytest.mark.parametrize(("gpus", "together"), [(0, False), (2, False), (3, False), (4, True), (8, True)])
def test_with_gpus_for_both_servers_both_are_up_at_once(
    monkeypatch: pytest.MonkeyPatch, gpus: int, *, together: bool
) -> None:
    session = Session(monkeypatch, gpus=gpus)
    session()
    assert ("--together" in session.ran[1][1]) is together
    session("--together")
    assert session.ran[3][1].count("--together") == 1


@pytest.mark.parametrize(
    ("collective", "suite", "worst"),
    [(0, 1, 1), (1, 0, 1), (0, 2, 2), (1, 2, 1), (0, 3, 3), (1, 3, 3), (2, 0, 3), (-9, 0, 3), (0, 130, 3)],
)
def test_the_worst_code_is_the_sessions(
    monkeypatch: pytest.MonkeyPatch, collective: int, suite: int, worst: int
) -> None:
    session = Session(monkeypatch, collective=collective, suite=suite)
    assert session() == worst
    assert len(session.ran) == 2
    assert session.logged[1] == f"smollm2-cuda: exit code {suite}"


def test_it_can_be_tried_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(monkeypatch, gpus=0)
    assert session("--backend", "gloo", "--device", "cpu", "--suite", "smollm2-cpu") == 0
    assert session.ran == [
        (
            "/server-cpu/python",
            ["-m", "suites.speed.multi_gpu", "--backend", "gloo", "--device", "cpu"],
        ),
        ("accuracy", ["--suite", "smollm2-cpu", "--no-noise-floor"]),
    ]


@pytest.mark.parametrize(("device", "numeric"), [("cuda", ["--device", "cuda"]), ("npu", [])])
def test_nightly_runs_the_numerics_where_the_suites_run(
    monkeypatch: pytest.MonkeyPatch, device: str, numeric: list[str]
) -> None:
    session = Session(monkeypatch)
    asked: list[tuple[list[str], str]] = []

    def run_numerics(_session: nox.Session, arguments: Sequence[str], *, device: str) -> int:
        asked.append((list(arguments), device))
        return 0

    known = {"a": "cpu", "b": device}
    monkeypatch.setattr(noxfile, "run_numerics", run_numerics)
    monkeypatch.setattr(noxfile, "suites", lambda _session: known)
    posargs = ["--device", device, "--limit", "4", "--keep", "7"]
    given: Any = SimpleNamespace(posargs=posargs, log=session.logged.append)
    noxfile.nightly.func(given)
    assert asked == [(numeric, device)]
    assert session.ran[0] == ("accuracy", ["--suite", "b", "--noise-floor", "--limit", "4"])
    assert session.night == ["--keep=7", "--part=numerics=0", "--part=b=0"]


@pytest.mark.parametrize(("history", "suite", "code"), [(1, 0, 1), (0, 2, 2), (1, 2, 1), (3, 1, 3), (-9, 0, 3)])
def test_a_figure_that_got_worse_makes_the_night_red(
    monkeypatch: pytest.MonkeyPatch, history: int, suite: int, code: int
) -> None:
    session = Session(monkeypatch, collective=history, suite=suite)
    monkeypatch.setattr(noxfile, "run_numerics", lambda *_, **__: 0)
    monkeypatch.setattr(noxfile, "suites", lambda _session: {"a": "cpu"})
    given: Any = SimpleNamespace(posargs=["--reports", "/there"], log=session.logged.append)
    with pytest.raises(SystemExit) as end:
        noxfile.nightly.func(given)
    assert end.value.code == code
    assert session.ran[0] == ("accuracy", ["--suite", "a", "--noise-floor", "--reports", "/there"])
    usual = f"--keep={noxfile.KEPT_RUNS}"
    assert session.night == [usual, "--part=numerics=0", f"--part=a={suite}", "--part=compat=0", "--reports=/there"]
    assert session.logged[-1] == f"history: exit code {history}"


@pytest.mark.parametrize(
    "arguments", [["-n", "2"], ["-n2"], ["--impl=a:b"], ["--check", "shapes"], ["--backend=nccl"]]
)
def test_the_suite_on_a_gpu_is_shared_out_unless_told_otherwise(arguments: list[str]) -> None:
    option, processes, *_ = noxfile.side_by_side(["--device", "cuda", "--codec", "none"])
    assert option == "-n"
    assert 1 <= int(processes) <= noxfile.MOST_PROCESSES
    assert not noxfile.side_by_side(["--device", "cuda", *arguments])


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["--device", "npu", "--no-sites"], ["--suite", "b", "--no-sites"]),
        (["--device", "npu", "--suite", "c"], ["--suite", "c"]),
        (["--no-sites"], ["--no-sites"]),
    ],
)
def test_a_study_takes_the_suite_of_a_device(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], asked: list[str]
) -> None:
    ran: list[list[str]] = []

    def run_accuracy(_session: nox.Session, arguments: Sequence[str], *, command: str) -> int:
        ran.append([command, *arguments])
        return 0

    monkeypatch.setattr(noxfile, "run_accuracy", run_accuracy)
    monkeypatch.setattr(noxfile, "suites", lambda _session: {"a": "cpu", "b": "npu", "c": "npu"})
    given: Any = SimpleNamespace(posargs=arguments)
    noxfile.study.func(given)
    assert ran == [["study", *asked]]


def test_a_suite_that_cannot_be_read_fails_the_night_and_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(monkeypatch)
    monkeypatch.setattr(noxfile, "run_numerics", lambda *_, **__: 0)
    monkeypatch.setattr(noxfile, "suites", lambda _session: {"a": "cpu", "tiny-moe-cpu": "cpu", "b": noxfile.BROKEN})
    given: Any = SimpleNamespace(posargs=[], log=session.logged.append)
    with pytest.raises(SystemExit) as end:
        noxfile.nightly.func(given)
    assert end.value.code == environments.ERROR
    assert session.ran[0] == ("accuracy", ["--suite", "a", "--noise-floor"])
    assert session.night[1:] == ["--part=numerics=0", "--part=a=0", "--part=compat=0", "--part=b=3"]
    assert session.logged[:-1] == [
        "numerics: exit code 0",
        "a: exit code 0",
        "compat: exit code 0",
        "b: exit code 3",
    ]


def test_nightly_refuses_a_device_that_has_no_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(monkeypatch)
    monkeypatch.setattr(noxfile, "suites", lambda _session: {"a": "cpu", "b": "npu"})
    given: Any = SimpleNamespace(posargs=["--device", "npus"], log=session.logged.append)
    with pytest.raises(SystemExit) as end:
        noxfile.nightly.func(given)
    assert end.value.code == environments.ERROR
    assert session.logged == ["there is no suite for --device npus; there are suites for: cpu, npu"]
    assert not session.ran


def test_the_environment_names_the_interpreter_of_the_numerics_but_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = Session(monkeypatch)
    monkeypatch.setenv("HARNESS_SERVER_PYTHON", "/theirs/python")
    monkeypatch.setattr(noxfile, "capture_activations", lambda *_: 0)
    given: Any = SimpleNamespace()
    noxfile.run_numerics(given, ["-k", "codecs"], device="npu")
    noxfile.run_numerics(given, ["-k", "codecs"])
    assert [python for python, _ in session.ran] == ["/theirs/python", "/server-cpu/python"]


@pytest.mark.parametrize(
    ("posargs", "environments", "options"),
    [
        ([], ["harness", "harness", "fleet", "server", "server"], []),
        (["tests/fleet", "-x"], ["fleet"], ["-x"]),
        (["-m", "not server", "-x"], ["harness", "fleet", "server", "server"], ["-m", "not server", "-x"]),
        (["tests/stats", "-k", "tango"], ["harness"], ["-k", "tango"]),
        (["tests/collective/test_wire.py::test_x"], ["server"], []),
    ],
)
def test_what_is_no_path_is_pytests(
    monkeypatch: pytest.MonkeyPatch, posargs: list[str], environments: list[str], options: list[str]
) -> None:
    session = Session(monkeypatch)
    monkeypatch.setattr(noxfile, "harness_environment", lambda *_, **__: Path("/harness/python"))
    monkeypatch.setattr(noxfile, "prepare_plugin", lambda _: None)
    monkeypatch.setattr(noxfile, "prepare", lambda *_: 0)
    given: Any = SimpleNamespace(posargs=posargs)
    noxfile.tests.func(given)
    assert [python.split("/")[1].removesuffix("-cpu") for python, _ in session.ran] == environments
    assert all(ran[len(ran) - len(options) :] == options for _, ran in session.ran)


@pytest.mark.parametrize(("codes", "of_all"), [([0, 5, 5, 0], 0), ([5, 5, 5, 5], 5), ([0, 5, 5, 1], 1)])
def test_an_environment_without_chosen_tests_fails_nothing(
    monkeypatch: pytest.MonkeyPatch, codes: list[int], of_all: int
) -> None:
    Session(monkeypatch)
    monkeypatch.setattr(noxfile, "harness_environment", lambda *_, **__: Path("/harness/python"))
    monkeypatch.setattr(noxfile, "prepare_plugin", lambda _: None)
    monkeypatch.setattr(noxfile, "prepare", lambda *_: 0)
    left = iter(codes)
    monkeypatch.setattr(noxfile, "run", lambda *_, **__: next(left))
    given: Any = SimpleNamespace(posargs=["-k", "x"])
    if of_all:
        with pytest.raises(SystemExit) as end:
            noxfile.tests.func(given)
        assert end.value.code == of_all
    else:
        noxfile.tests.func(given)


class Environments:
    """Notes with which interpreter the harness is run; makes none."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, code: int = 0) -> None:
        self.ran: list[tuple[list[str], dict[str, str]]] = []
        self.plugins = 0
        self._code = code
        monkeypatch.setattr(noxfile, "run", self._run)
        monkeypatch.setattr(noxfile, "prepare_plugin", self._prepare_plugin)
        monkeypatch.setattr(noxfile, "harness_environment", lambda *_, **__: Path("/harness/python"))
        monkeypatch.setattr(noxfile, "server_cpu_environment", lambda _: Path("/server-cpu/python"))
        monkeypatch.setattr(noxfile, "suites", self._suites)
        monkeypatch.delenv("HARNESS_SERVER_PYTHON", raising=False)

    @staticmethod
    def _suites(_session: object, named: str) -> dict[str, str]:
        devices = {"smollm2-cpu": "cpu", "x-npu": "npu", "/own/suite.yaml": "cpu"}
        return {named: devices[named]} if named in devices else {named: noxfile.BROKEN}

    def _prepare_plugin(self, _session: object) -> None:
        self.plugins += 1

    def _run(self, _session: object, python: Path, *arguments: str, env: dict[str, str] | None = None) -> int:
        assert str(python) == "/harness/python"
        self.ran.append((list(arguments), env or {}))
        return self._code

    def interpreter(self, *arguments: str) -> str:
        """Run a suite; return the interpreter that its servers get."""
        assert noxfile.run_accuracy(SESSION, arguments) == self._code
        asked, env = self.ran[-1]
        # What the harness itself knows goes to it as it was given.
        assert asked == ["-m", "harness", "accuracy", *arguments]
        assert env["HARNESS_PLUGIN_PATH"] == str(environments.plugin_folder())
        return env["HARNESS_SERVER_PYTHON"]


SESSION: Any = SimpleNamespace()


@pytest.mark.parametrize(
    ("arguments", "interpreter"),
    [
        ([], "/server-cpu/python"),
        (["--suite", "smollm2-cpu", "--limit", "4"], "/server-cpu/python"),
        (["--suite=smollm2-cpu", "--server-python=/theirs/python"], "/theirs/python"),
        (["--suite", "x-npu"], sys.executable),
        (["--suite", "/own/suite.yaml"], "/server-cpu/python"),
        (["--suite=x-npu", "--server-python", "/theirs/python"], "/theirs/python"),
        # The harness itself refuses it, with the list of those there are.
        (["--suite", "no-such-suite"], sys.executable),
    ],
)
def test_a_suites_servers_run_in_the_environment_of_its_device(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], interpreter: str
) -> None:
    environments = Environments(monkeypatch)
    assert environments.interpreter(*arguments) == interpreter
    assert environments.plugins == 1


@pytest.mark.parametrize("suite", ["smollm2-cpu", "x-npu"])
def test_an_interpreter_that_the_environment_names_is_taken_unless_an_option_names_another(
    monkeypatch: pytest.MonkeyPatch, suite: str
) -> None:
    environments = Environments(monkeypatch)
    monkeypatch.setenv("HARNESS_SERVER_PYTHON", "/named/python")
    assert environments.interpreter("--suite", suite) == "/named/python"
    assert environments.interpreter("--suite", suite, "--server-python", "/theirs/python") == "/theirs/python"


@pytest.mark.parametrize("code", [0, 1, 2, 3, 130])
def test_a_suites_exit_code_is_the_sessions(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    Environments(monkeypatch, code=code)
    given: Any = SimpleNamespace(posargs=["--suite", "x-npu"])
    for session in (noxfile.accuracy, noxfile.calibrate):
        if code:
            with pytest.raises(SystemExit) as end:
                session.func(given)
            assert end.value.code == code
        else:
            session.func(given)


def test_help_is_the_harnesss_own_and_needs_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    environments = Environments(monkeypatch)
    assert noxfile.run_accuracy(SESSION, ["--suite", "x-npu", "--help"], command="calibrate") == 0
    assert environments.ran == [(["-m", "harness", "calibrate", "--help"], {})]
    assert environments.plugins == 0


@pytest.mark.parametrize(
    ("arguments", "value", "rest"),
    [
        ([], "default", []),
        (["--limit", "4"], "default", ["--limit", "4"]),
        (["--suite", "a", "--limit=4"], "a", ["--limit=4"]),
        (["--limit", "4", "--suite=a=b", "path"], "a=b", ["--limit", "4", "path"]),
        # No abbreviations: `--suites` is somebody else's option.
        (["--suites", "a"], "default", ["--suites", "a"]),
        (["--sui", "a"], "default", ["--sui", "a"]),
    ],
)
def test_an_option_is_taken_out_and_all_others_stay(arguments: list[str], value: str, rest: list[str]) -> None:
    assert noxfile.pop_option(arguments, "--suite", "default") == (value, rest)


@pytest.mark.parametrize("code", [-9, 137, 70])
def test_a_harness_that_was_killed_is_an_error(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    Environments(monkeypatch, code=code)
    assert noxfile.run_accuracy(SESSION, []) == environments.ERROR


def test_a_run_that_goes_on_needs_no_environment_but_the_harnesss(monkeypatch: pytest.MonkeyPatch) -> None:
    environments = Environments(monkeypatch)
    monkeypatch.setattr(noxfile, "server_cpu_environment", lambda _: pytest.fail("made for nothing"))
    noxfile.run_accuracy(SESSION, ["--resume", "reports/x"])
    assert environments.ran[-1][0] == ["-m", "harness", "accuracy", "--resume", "reports/x"]


@pytest.mark.parametrize(
    ("arguments", "releases"),
    [
        (["--sglang", "0.5.16,0.5.23"], ["0.5.16", "0.5.23"]),
        (["--short"], ["0.5.11", "0.5.16", "0.5.23"]),
        ([], [*environments.older_releases(), "0.5.23"]),
    ],
)
def test_compat_looks_at_the_releases_that_are_asked_for_the_oldest_first(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], releases: list[str]
) -> None:
    session = Session(monkeypatch)
    monkeypatch.setattr(noxfile, "harness_environment", lambda _session, **_: Path("/harness/python"))
    monkeypatch.setattr(noxfile, "release_environment", lambda _session, release: Path(f"/{release}"))
    monkeypatch.setattr(noxfile, "prepare_plugin", lambda _session: None)
    given: Any = SimpleNamespace(posargs=arguments, log=session.logged.append)
    assert RUN_COMPAT(given, arguments) == 0
    assert environments.older_releases()[0] == "0.5.11"
    assert len(environments.older_releases()) == 12
    named = [f"--release={release}=/{release}" for release in releases]
    rest = [argument for argument in arguments if argument == "--short"]
    assert session.ran[-1] == ("/harness/python", ["-m", "suites.compat", *named, *rest])


def test_a_fleet_has_the_interpreter_of_each_release_that_its_matrix_names(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(monkeypatch)
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(noxfile, "prepare_plugin", lambda _: None)
    monkeypatch.setattr(noxfile, "release_environment", lambda _, release: Path(f"/sglang-{release}/python"))

    def must_run(_session: nox.Session, _python: Path, *arguments: str, silent: bool) -> str:
        assert silent
        asked.append(arguments)
        return "0.5.16\n0.5.23\n"

    monkeypatch.setattr(noxfile, "must_run", must_run)
    nothing: Any = None
    assert noxfile.run_fleet(nothing, ["night", "--ray", "auto"]) == 0
    assert asked == [("-m", "harness", "fleet", "night", "--ray", "auto", "--releases")]
    releases = [f"--release={release}=/sglang-{release}/python" for release in ("0.5.16", "0.5.23")]
    assert session.ran == [("/fleet/python", ["-m", "harness", "fleet", "night", "--ray", "auto", *releases])]
    assert session.environments[0]["HARNESS_SERVER_PYTHON"] == "/server-cpu/python"
    # One that goes on has its interpreters in its plan.
    assert noxfile.run_fleet(nothing, ["--resume", "reports/fleet", "--server-python=/theirs/python"]) == 0
    assert len(asked) == 1
    assert session.environments[1]["HARNESS_SERVER_PYTHON"] == "/theirs/python"


@pytest.mark.parametrize(("options", "python"), [(["--ray=auto", "--parts", "2"], "fleet"), ([], "harness")])
def test_a_study_that_is_shared_out_has_the_environment_with_ray(
    monkeypatch: pytest.MonkeyPatch, options: list[str], python: str
) -> None:
    run_accuracy = noxfile.run_accuracy
    session = Session(monkeypatch)
    monkeypatch.setattr(noxfile, "prepare_plugin", lambda _: None)
    nothing: Any = None
    arguments = ["--server-python", "/theirs/python", *options]
    assert run_accuracy(nothing, arguments, command="study") == 0
    assert session.ran == [(f"/{python}/python", ["-m", "harness", "study", *arguments])]
