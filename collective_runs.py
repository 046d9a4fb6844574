"""What runs the collective by itself, on a CPU, a GPU or several, each to its exit code."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import nox

from command_line import FAIL, end_with_worst, named_interpreter, pop_option
from environments import (
    CPU_SHIMS,
    ERROR,
    PASS,
    ROOT,
    harness_env,
    harness_environment,
    path_of,
    prepare_plugin,
    pytest_for,
    run,
    server_cpu_environment,
    server_env,
)
from harness.places import cache
from suite_runs import prepare, run_accuracy

ACTIVATIONS = cache() / "activations.pt"
# Processes that test kernels on one GPU; each, and each of its three ranks, takes some 600 MB of its memory.
MOST_PROCESSES = 8
MULTI_GPU_SUITE = "smollm2-cuda"
# What `multi_gpu` hands to suites.speed.multi_gpu; the rest goes to the suite.
MULTI_GPU_OPTIONS = ("--backend", "--device", "--ranks", "--parts", "--calls", "--seed", "--largest", "--rounds")
# GPUs, of which two servers of two ranks each take all.
BOTH_SERVERS = 4


def run_numerics(session: nox.Session, arguments: Sequence[str], *, device: str = "cpu") -> int:
    """Run the numerical suite in an environment that has torch, and return pytest's exit code."""
    # On the CPU the suite has an environment of its own, whatever SGLang's servers run in.
    interpreter, rest = pop_option(arguments, "--server-python", "" if device == "cpu" else named_interpreter())
    if interpreter or device != "cpu":
        python = Path(interpreter or sys.executable)
        env = {"PYTHONPATH": path_of(pytest_for(session, python), ROOT)}
        shared = side_by_side(rest) if device == "cuda" else ()
        return run(session, python, "-m", "pytest", "suites/numerics", *rest, *shared, env=env)
    if code := capture_activations(session, rest):
        return code
    python = server_cpu_environment(session)
    return run(session, python, "-m", "pytest", "suites/numerics", *rest, *side_by_side(rest), env=server_env())


def side_by_side(arguments: Sequence[str]) -> tuple[str, ...]:
    """Return the options that share the suite out over processes, unless the arguments speak against it.

    On a GPU its time goes into compiling kernels, on one core for each process. An implementation under test is
    judged alone, and over NCCL each rank has a GPU for itself.
    """
    if any(argument.startswith(("-n", "--impl", "--check", "--backend")) for argument in arguments):
        return ()
    return ("-n", str(min(MOST_PROCESSES, os.cpu_count() or 1)), "--dist", "worksteal")


def run_module(session: nox.Session, module: str) -> int:
    """Run a module of the numerical suite with the session's arguments, and return its exit code."""
    return run(session, server_cpu_environment(session), "-m", module, *session.posargs, env=server_env())


def capture_activations(session: nox.Session, arguments: Sequence[str]) -> int:
    """Capture real activations from a server on the CPU, once, and return 0, or ERROR.

    The numerical suite's table is of them too, but not with arguments that ask for another implementation or a part.
    """
    if ACTIVATIONS.exists() or any(text.startswith(("--impl", "--check", "--help", "-k")) for text in arguments):
        return PASS
    server = server_cpu_environment(session)
    prepare_plugin(session)
    capture = ("-m", "harness.run.capture_activations", f"--out={ACTIVATIONS}")
    code = prepare(session, server) or run(session, harness_environment(session), *capture, env=harness_env(server))
    return ERROR if code else PASS


def gpus(session: nox.Session, python: Path) -> int:
    """Return how many NVIDIA GPUs an interpreter's torch sees; 0 where it has none."""
    ask = "import torch; print('GPUs:', torch.cuda.device_count())"
    said = session.run(str(python), "-c", ask, silent=True, external=True, success_codes=range(256))
    found = [line.removeprefix("GPUs:") for line in str(said).splitlines() if line.startswith("GPUs:")]
    return int(found[0]) if found else 0


def run_bench(session: nox.Session) -> int:
    """Time what the arguments ask for, and return its exit code."""
    if "--own-share" in session.posargs:
        rest = [argument for argument in session.posargs if argument != "--own-share"]
        return run(session, harness_environment(session), "-m", "suites.clients.own_share", *rest)
    if "--server" in session.posargs:
        python = harness_environment(session, beside="stock-client")
        server = server_cpu_environment(session)
        prepare_plugin(session)
        rest = [argument for argument in session.posargs if argument != "--server"]
        return run(session, python, "-m", "suites.clients", *rest, env=harness_env(server))
    device, rest = pop_option(session.posargs, "--device", "cpu")
    if device == "cpu":
        return run_module(session, "suites.speed.bench")
    interpreter, rest = pop_option(rest, "--server-python", named_interpreter())
    module = ("-m", "suites.speed.bench", "--device", device)
    env = {"PYTHONPATH": path_of(ROOT)}
    return run(session, Path(interpreter or sys.executable), *module, *rest, env=env)


def run_multi_gpu(session: nox.Session) -> None:
    """Run the collective and a suite, and end nox with the worse of their exit codes."""
    device, _ = pop_option(session.posargs, "--device", "cuda")
    interpreter, rest = pop_option(session.posargs, "--server-python", named_interpreter())
    options = []
    for option in MULTI_GPU_OPTIONS:
        value, rest = pop_option(rest, option, "")
        options += [option, value] if value else []
    suite, rest = pop_option(rest, "--suite", MULTI_GPU_SUITE)
    module = ("-m", "suites.speed.multi_gpu", *options)
    if device == "cpu" and not interpreter:
        python = server_cpu_environment(session)
        collective = run(session, python, *module, env=server_env())
    else:
        python = Path(interpreter or sys.executable)
        path = path_of(*([CPU_SHIMS] if device == "cpu" else []), pytest_for(session, python), ROOT)
        collective = run(session, python, *module, env={"PYTHONPATH": path})
    codes = {"collective": collective if collective in (PASS, FAIL) else ERROR}
    # Enough for both servers' two ranks: then they are up at once, and see the same state of the machine.
    together = ["--together"] if "--together" not in rest and gpus(session, python) >= BOTH_SERVERS else []
    named = ["--server-python", interpreter] if interpreter else []
    codes[suite] = run_accuracy(session, ["--suite", suite, "--no-noise-floor", *together, *named, *rest])
    end_with_worst(session, codes)
