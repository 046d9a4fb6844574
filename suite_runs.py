"""Runs of suites: which there are, and what accuracy, fleet and compat run, each to its exit code."""

import sys
from collections.abc import Sequence
from pathlib import Path

import nox

from command_line import INTERRUPTED, WORST_FIRST, named_interpreter, pop_option
from environments import (
    ERROR,
    end_with,
    fleet_environment,
    harness_env,
    harness_environment,
    must_run,
    newest_release,
    older_releases,
    prepare_plugin,
    release_environment,
    run,
    server_cpu_environment,
)

DEFAULT_SUITE = "smollm2-cpu"
# CI looks at the oldest that has flag and plugins, and one in the middle: the newest is what all else runs.
IN_CI = ("0.5.11", "0.5.16")
# The device of a suite that cannot be read.
BROKEN = "broken"


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
        if pop_option(arguments, "--server-python", "")[0]:
            session.log("--sglang names a release with its own environment, --server-python another: leave one out")
            return ERROR
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
    usual = IN_CI if "--short" in rest else (*older_releases(), newest_release())
    releases = named.split(",") if named else usual
    server = server_cpu_environment(session)
    prepare_plugin(session)
    pythons = [f"--release={release}={release_environment(session, release)}" for release in releases]
    code = prepare(session, server) or run(
        session, python, "-m", "suites.compat", *pythons, *rest, env=harness_env(server)
    )
    return code if code in WORST_FIRST else ERROR


def prepare(session: nox.Session, server: Path) -> int:
    """Make the default suite's model and data ready, once, and return the exit code."""
    return run(session, harness_environment(session), "-m", "harness", "prepare", env=harness_env(server))


def suites(session: nox.Session, *arguments: str) -> dict[str, str]:
    """Return each suite's device by its name, or that of those that the arguments of `harness suites` choose."""
    listed = must_run(session, harness_environment(session), "-m", "harness", "suites", *arguments, silent=True)
    return {name: device for name, device, *_ in (line.split("\t") for line in str(listed).splitlines())}


def of_device(session: nox.Session, device: str, devices: dict[str, str]) -> list[str]:
    """Return the names of a device's suites, of all suites' devices; end nox where it has none."""
    names = [name for name, its_device in devices.items() if its_device == device]
    if not names:
        known = ", ".join(sorted(set(devices.values()) - {BROKEN}))
        session.log(f"there is no suite for --device {device}; there are suites for: {known}")
        end_with(ERROR)
    return names
