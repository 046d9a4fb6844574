"""All tasks together: one test over all their questions, which sees what is too small for each."""

from collections.abc import Mapping, Sequence

from harness.judge.drop import check_drop, judge_drop
from harness.judge.error_budget import POOLED
from harness.judge.paired_report import judged_drop, paired_report
from harness.judge.pairing import Pair, counts_of
from harness.judge.results import PooledReport
from harness.judge.task_gates import TaskNumbers, unless_unsteady, why_no_measure
from harness.judge.verdict import Judged, Verdict
from harness.plan.plan import Plan


def judge_pooled(
    plan: Plan, tasks: Mapping[str, Sequence[Pair]], numbers: Mapping[str, TaskNumbers], fail_alpha: float
) -> PooledReport | None:
    """Judge all questions together of the tasks that have a `max_drop`, by one test.

    Where one of the tasks is no measure, neither is the whole.

    Args:
        plan: The run's plan.
        tasks: Each task's pairs.
        numbers: What each task's verdict rests on.
        fail_alpha: The pooled test's part of the error budget.

    Returns:
        The result; None where the plan has no pooled row.
    """
    if plan.pooled is None:
        return None
    names = [name for name, task in plan.tasks.items() if task.threshold.max_drop is not None]
    pairs = [question for name in names for question in tasks[name]]
    drop = check_drop(counts_of(pairs), plan.pooled.max_drop, fail_alpha=fail_alpha)
    faulty = [name for name in names if numbers[name].faults or numbers[name].failed]
    unfit = [f"{name}: {why}" for name in names if (why := why_no_measure(numbers[name], plan.tasks[name].threshold))]
    if faulty or not pairs:
        why = f"{POOLED}: not judged, for want of {', '.join(faulty) or 'questions'}"
        judged = Judged(verdict=Verdict.INCONCLUSIVE, reasons=(why,))
    elif unfit:
        judged = Judged(verdict=Verdict.INCONCLUSIVE, reasons=tuple(f"{POOLED}: {why}" for why in unfit))
    else:
        again = tuple(f"{name}: {text}" for name in names for text in numbers[name].again)
        judged = unless_unsteady(POOLED, judge_drop(f"{POOLED} ({', '.join(names)})", drop), again)
    return PooledReport(
        tasks=names,
        n=len(pairs),
        paired=paired_report(pairs),
        drop=judged_drop(drop),
        verdict=judged.verdict,
        reasons=list(judged.reasons),
        threshold=plan.pooled,
    )
