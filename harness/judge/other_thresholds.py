"""A run's plan with other thresholds than those it was judged by at first: the same answers, judged again."""

from pathlib import Path

from harness.config.thresholds import ModelThresholds, Thresholds
from harness.config.yaml_file import YamlFile
from harness.errors import HarnessError
from harness.plan.plan import COMPRESSED, Plan
from harness.records.run import ArmRecord, read_record
from harness.records.run_folder import RunFolder


def with_thresholds(folder: RunFolder, file: Path) -> Plan:
    """Return a run's plan as it would be with other thresholds.

    Args:
        folder: The run's folder.
        file: The file of thresholds.

    Raises:
        HarnessError: The file is wrong, has no row for the run's model or one of its tasks, is for another protocol,
            or the run asked fewer questions than planned, since its own thresholds ended it early; all at once.
    """
    plan = read_record(folder.plan, Plan)
    rows = YamlFile(file, Thresholds).content.models.get(plan.model)
    if rows is None:
        raise HarnessError(f"{file}: has no rows for {plan.model}, the model of {folder.path}")
    file_of_arm = folder.arm(COMPRESSED).record
    record = read_record(file_of_arm, ArmRecord) if file_of_arm.exists() else None
    if problems := _problems(plan, rows, record):
        raise HarnessError("\n".join(f"{file}: {plan.model}: {problem}" for problem in problems))
    tasks = {name: task.model_copy(update={"threshold": rows.tasks[name]}) for name, task in plan.tasks.items()}
    fidelity = plan.fidelity.model_copy(update={"threshold": rows.fidelity}) if plan.fidelity else None
    changed = {"tasks": tasks, "pooled": rows.pooled, "fidelity": fidelity, "thresholds": str(file.absolute())}
    return plan.model_copy(update=changed)


def _problems(plan: Plan, rows: ModelThresholds, record: ArmRecord | None) -> list[str]:
    problems = []
    for name, task in plan.tasks.items():
        row = rows.tasks.get(name)
        done = record.tasks.get(name) if record else None
        if row is None:
            problems.append(f"{name}: has no row: add one, if only report_only")
        elif done is not None and row.protocol not in (None, done.protocol_text):
            problems.append(
                f"{name}: the numbers hold for another protocol than the run's\n"
                f"  threshold: {row.protocol}\n  run:       {done.protocol_text}"
            )
        if row is not None and row.scored_by != task.threshold.scored_by:
            problems.append(
                f"{name}: judges by {row.scored_by}, and what is right in the run's samples was found by "
                f"{task.threshold.scored_by}: run it anew"
            )
        if row in (None, task.threshold) or done is None:
            continue
        if done.questions < task.questions:
            problems.append(
                f"{name}: the run ended it after {done.questions} of {task.questions} questions, when the verdict "
                "was certain by its own thresholds: by others it would have asked more, so run it anew"
            )
    return problems
