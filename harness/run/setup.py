"""Everything that is found out before the first server starts; it is made once, and goes only down from here."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from harness.ask.lm_eval_task import LmEvalTask, check_tasks
from harness.ask.predictions import FixedTexts
from harness.ask.prompts import check_lengths, word_chats
from harness.ask.questionnaire import Questionnaire
from harness.errors import HarnessError
from harness.plan.data_line import data_line
from harness.plan.plan import Plan
from harness.plan.preflight import Sglang, check_plan
from harness.records.run import write_record
from harness.records.run_folder import RunFolder
from harness.run.display import Display
from harness.run.reuse_baseline import adopt_baseline, make_fingerprint


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A run that can start.

    Attributes:
        plan: What it does.
        folder: Where it writes.
        sglang: The SGLang that will run.
        questionnaires: What every server is asked, in order: the tasks, then the fixed texts.
    """

    plan: Plan
    folder: RunFolder
    sglang: Sglang
    questionnaires: list[Questionnaire]


def set_up(plan: Plan, display: Display) -> Ready:
    """Check the plan against the SGLang that will run, make the run's folder, load tasks and texts, adopt a baseline.

    Args:
        plan: The plan.
        display: Where progress is shown.

    Raises:
        HarnessError: The plan cannot be carried out, or its folder cannot be written.
    """
    display.say(data_line(plan.data_manifest))
    display.say(f"asking {plan.server_python} whether its SGLang takes the plan")
    sglang = check_plan(plan)
    folder = RunFolder(Path(plan.folder))
    try:
        return _ready(plan, display, folder, sglang)
    except OSError as error:
        raise HarnessError(f"{folder.path} cannot be written: {error}") from error
    except HarnessError:
        # A run that was refused leaves no husk among the reports.
        shutil.rmtree(folder.path, ignore_errors=True)
        raise


def _ready(plan: Plan, display: Display, folder: RunFolder, sglang: Sglang) -> Ready:
    folder.path.mkdir(parents=True)
    write_record(folder.plan, plan)
    ready = Ready(plan=plan, folder=folder, sglang=sglang, questionnaires=load_questionnaires(plan, folder.tasks))
    fingerprint = make_fingerprint(plan, ready.questionnaires, sglang)
    write_record(folder.fingerprint, fingerprint)
    if plan.reuse_baseline is not None:
        adopt_baseline(plan, folder, RunFolder(Path(plan.reuse_baseline)), fingerprint)
        display.say(f"baseline: taken from {plan.reuse_baseline}")
    return ready


def load_questionnaires(plan: Plan, folder: Path) -> list[Questionnaire]:
    """Load the plan's tasks and texts.

    Args:
        plan: The plan.
        folder: Where the tasks' YAML goes with the data's place in it.

    Raises:
        HarnessError: A task or its data cannot be loaded, a threshold does not fit its task, or a question does
            not fit into the model's context.
    """
    data = Path(plan.data)
    tasks = [LmEvalTask(name, task, data, folder) for name, task in plan.tasks.items()]
    check_tasks(tasks)
    word_chats(plan, tasks)
    check_lengths(plan, tasks)
    return [*tasks, *([FixedTexts(plan.fidelity, data)] if plan.fidelity is not None else [])]
