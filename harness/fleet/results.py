"""What is to be told of a run of a fleet: its verdict, where its arms ran, what had to run again, what it shares."""

from collections.abc import Sequence

from harness.fleet.records import Attempt
from harness.fleet.report import RunResult
from harness.fleet.state import RunState


def result_of(
    run: RunState, runs: Sequence[RunState], attempts: Sequence[Attempt], verdict: str, reasons: Sequence[str]
) -> RunResult:
    """Return what a run came to.

    Args:
        run: The run.
        runs: All of the fleet.
        attempts: All of the fleet.
        verdict: Its verdict.
        reasons: Why.
    """
    plan = run.run.plan
    return RunResult(
        run_id=plan.run_id,
        suite=plan.suite,
        model=plan.model,
        compression=run.run.compression,
        release=run.run.release,
        verdict=verdict,
        reasons=list(reasons),
        hosts=list(dict.fromkeys(arm.host for arm in run.arms if arm.host)),
        again=_again(run, attempts),
        shared=_sharing(run, runs),
    )


def notes_of(run: RunState, runs: Sequence[RunState], attempts: Sequence[Attempt], fleet_id: str) -> list[str]:
    """Return what a run's own report is to say of how it ran; arguments as for `result_of`, and the fleet's name."""
    where = ", ".join(f"{arm.label} on {arm.host}" for arm in run.arms if arm.host)
    shared = [f"its baseline is also that of {other}" for other in _sharing(run, runs)]
    return [f"its arms were those of the fleet {fleet_id}: {where}", *shared, *_again(run, attempts)]


def _again(run: RunState, attempts: Sequence[Attempt]) -> list[str]:
    labels = {arm.key: arm.label for arm in run.arms}
    return [
        f"{labels[attempt.task]}: attempt {attempt.number}, since attempt {attempt.number - 1} failed: "
        f"{attempt.why.splitlines()[0]}"
        for attempt in attempts
        if attempt.number > 1 and attempt.task in labels
    ]


def _sharing(run: RunState, runs: Sequence[RunState]) -> list[str]:
    return [other.run.plan.run_id for other in runs if other is not run and other.run.baseline == run.run.baseline]
