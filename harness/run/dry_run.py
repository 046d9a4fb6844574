"""Shows what a plan would do, and finds what the run would find at its start."""

import json
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from harness.ask.questionnaire import Questionnaire, hash_contents
from harness.errors import HarnessError, NotFetchedError
from harness.judge.early_stop import parts
from harness.judge.error_budget import fail_levels
from harness.places import is_hub_name
from harness.plan.data_line import data_line
from harness.plan.plan import Plan
from harness.plan.preflight import check_plan
from harness.prepare.models import hub_is_forbidden
from harness.records.run_folder import RunFolder
from harness.run.reuse_baseline import check_baseline, make_fingerprint
from harness.run.setup import load_questionnaires
from harness.stats import ALPHA


def show_plan(plan: Plan, console: Console) -> list[str]:
    """Print a plan; loads the tasks and their data, asks the SGLang that would run, starts no server.

    Returns:
        Why the run would be refused; empty where it would start.
    """

    def say(text: str = "") -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    say(data_line(plan.data_manifest))
    say(f"suite {plan.suite}: {plan.model} at {plan.model_path}, on {plan.device}, TP {plan.tp}")
    say(f"thresholds: {plan.thresholds}; SGLang's Python: {plan.server_python}")
    if plan.reuse_baseline is not None:
        say(f"\nbaseline: not started, taken from {plan.reuse_baseline}")
    for arm in plan.arms[plan.reuse_baseline is not None :]:
        say(f"\n{arm.name} (PORT and KEY_FILE are chosen at the start):\n{arm.shell()}")
    refused = [*plan.refused, *_refused(plan, say)]
    say(f"\nthe run's folder: {plan.folder}")
    say(f"expected time: {expected_time(plan)}")
    for reason in refused:
        say(f"ERROR on this machine the run would be refused: {reason}")
    return refused


def _refused(plan: Plan, say: Callable[[str], None]) -> list[str]:
    """Show what is asked, and return why the run would be refused once it looks at it, and at SGLang."""
    asked: list[Questionnaire] = []
    refused = []
    try:
        asked = _loaded(plan, say)
        for questionnaire in asked:
            _show(questionnaire, plan, say)
    except HarnessError as error:
        refused.append(str(error))
    if plan.refused:
        # An interpreter that is not there cannot be asked.
        return refused
    try:
        sglang = check_plan(plan)
        if plan.reuse_baseline is not None and asked:
            check_baseline(plan, RunFolder(Path(plan.reuse_baseline)), make_fingerprint(plan, asked, sglang))
    except HarnessError as error:
        refused.append(str(error))
    return refused


def _loaded(plan: Plan, say: Callable[[str], None]) -> list[Questionnaire]:
    """Return what can be loaded of what is asked; say of everything else that the run fetches it first.

    Raises:
        HarnessError: The run would be refused.
    """
    here = not is_hub_name(plan.model_path)
    tasks = {name: task if here else task.model_copy(update={"chat": None}) for name, task in plan.tasks.items()}
    while True:
        texts = plan.fidelity
        if texts is not None:
            known = {
                name: count for name, count in texts.texts.items() if name not in texts.of_tasks or name in tasks
            }
            texts = texts.model_copy(update={"texts": known}) if known else None
        try:
            loadable = plan.model_copy(update={"tasks": tasks, "fidelity": texts})
            return load_questionnaires(loadable, tokenizer=here)
        except NotFetchedError as error:
            if hub_is_forbidden() or error.task not in tasks:
                raise
            say(f"\n{error.task}: {tasks.pop(error.task).questions} questions on each arm")
            say(f"  not here yet, the run downloads it from the hub: {error.what}; a dry run asks no hub")


def _show(asked: Questionnaire, plan: Plan, say: Callable[[str], None]) -> None:
    contents = asked.contents()
    say(f"\n{asked.name}: {len(contents)} {asked.unit} on each arm, {asked.concurrency} at a time")
    task = plan.tasks.get(asked.name)
    if task is not None and task.early_stop:
        level = fail_levels(plan).get(f"{asked.name}.max_drop", ALPHA)
        looks = ", ".join(str(part.stop) for part in parts(task, level))
        say(f"  may end early: its verdict is looked at after {looks} questions")
    characters = sum(len(content) for content in contents)
    say(f"  prompts: {characters} characters in all, SHA-256 {hash_contents(contents)[:16]}")
    for name, value in asked.protocol().items():
        say(f"  {name}: {value!r}")
    say(f"  as a threshold's `protocol`: {json.dumps(asked.protocol_text(), ensure_ascii=False)}")
    say(f"  threshold: {asked.accepted}")
    say(f"  the first prompt ends in: {contents[0][-200:]!r}")


def expected_time(plan: Plan) -> str:
    """Say how long the run may take, by the newest run of the suite beside it: seconds a start and a question."""
    reports = Path(plan.folder).parent
    for file in sorted(reports.glob(f"*-{plan.suite}/report.json"), reverse=True):
        try:
            report = json.loads(file.read_text(encoding="utf-8"))
            asked = {name: task["asked"] for name, task in report["tasks"].items()}
            seconds = sum(_arm_seconds(plan, report["timings"], arm.name, asked) for arm in plan.arms)
        except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError):
            continue
        return f"about {max(1, round(seconds / 60))} min, by {file.parent.name}"
    return f"unknown: there is no finished run of {plan.suite} in {reports}"


def _arm_seconds(plan: Plan, timings: dict[str, float], arm: str, asked: dict[str, int]) -> float:
    """Return an arm's seconds; one that did not run then is as long as the baseline."""
    then = arm if f"{arm}.start" in timings else plan.arms[0].name
    tasks = sum(
        timings[f"{then}.{name}"] / asked[name] * task.questions for name, task in plan.tasks.items() if name in asked
    )
    return timings[f"{then}.start"] + tasks + timings.get(f"{then}.fidelity", 0.0)
