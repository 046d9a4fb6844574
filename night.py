"""A night: the numerics and every suite of a device, and what their trend over the nights is."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import nox

from collective_runs import run_numerics
from command_line import FAIL, end_with_worst, pop_option
from environments import ERROR, PASS, harness_environment, run
from suite_runs import BROKEN, of_device, run_accuracy, run_compat, suites

# Runs of each suite that a night leaves whole; of older ones that were good the report and the memory stay.
KEPT_RUNS = 60


def part(run_it: Callable[[], int]) -> int:
    """Return a part's exit code, also where it ended nox: the others and the summary do without its environment."""
    try:
        return run_it()
    except SystemExit:
        return ERROR


def run_night(session: nox.Session) -> None:
    """Run all parts, and end nox with the worst of their exit codes."""
    began = f"{datetime.now(tz=UTC):%Y-%m-%dT%H:%M:%S}"
    device, rest = pop_option(session.posargs, "--device", "cpu")
    keep, rest = pop_option(rest, "--keep", str(KEPT_RUNS))
    # No night of a suite that judges nothing would be green.
    devices = suites(session, "--judged")
    names = of_device(session, device, devices)
    interpreter, _ = pop_option(rest, "--server-python", "")
    numeric = ["--server-python", interpreter] if interpreter else []
    # The numerical suite knows no NPU: there it tests the arithmetic on the host's CPU.
    numeric += ["--device", device] if device == "cuda" else []
    # Of pytest's exit codes only 0 and 1 mean what ours do: its 2 is an interruption, not INCONCLUSIVE.
    numerical = part(lambda: run_numerics(session, numeric, device=device))
    codes = {"numerics": numerical if numerical in (PASS, FAIL) else ERROR}
    for name in names:
        codes[name] = part(partial(run_accuracy, session, ["--suite", name, "--noise-floor", *rest]))
    if device == "cpu":
        codes["compat"] = part(lambda: run_compat(session, []))
    # Which device these are for nobody knows: a night must not pass without them.
    codes |= {name: ERROR for name, its_device in devices.items() if its_device == BROKEN}
    told = [f"--part={name}={code}" for name, code in codes.items()]
    reports, _ = pop_option(rest, "--reports", "")
    where = [f"--reports={reports}"] if reports else []
    night = ("-m", "harness", "night", f"--began={began}", f"--keep={keep}", *told, *where)
    codes["history"] = run(session, harness_environment(session), *night)
    end_with_worst(session, codes)
