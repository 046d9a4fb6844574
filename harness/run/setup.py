"""Everything that is found out before the first server starts; it is made once, and goes only down from here."""

from dataclasses import dataclass
from pathlib import Path

from harness.ask.lm_eval_task import LmEvalTask, check_tasks
from harness.ask.predictions import FixedTexts
from harness.ask.prompts import check_lengths, word_chats
from harness.ask.questionnaire import Questionnaire
from harness.errors import HarnessError
from harness.plan.data_line import data_line
from harness.plan.plan import BASELINE, Plan
from harness.plan.preflight import Sglang, check_plan
from harness.records.questions import keep_prompts
from harness.records.run import Fingerprint, read_record, write_record
from harness.records.run_folder import RunFolder
from harness.run.display import Display
from harness.run.reuse_baseline import adopt_baseline, differences, make_fingerprint


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


def ask_sglang(plan: Plan, display: Display) -> Sglang:
    """Check the plan against the SGLang that will run; errors as for `check_plan`."""
    display.say(data_line(plan.data_manifest))
    display.say(f"asking {plan.server_python} whether its SGLang takes the plan")
    return check_plan(plan)


def set_up(plan: Plan, folder: RunFolder, sglang: Sglang, display: Display) -> Ready:
    """Load tasks and texts, and adopt a baseline; see to it that a run which goes on is the one that it was.

    Args:
        plan: The plan.
        folder: The run's folder.
        sglang: The SGLang that will run.
        display: Where progress is shown.

    Raises:
        HarnessError: The plan cannot be carried out, or something is no longer what it was when the run started.
        OSError: The folder cannot be written.
    """
    ready = Ready(plan=plan, folder=folder, sglang=sglang, questionnaires=load_questionnaires(plan, folder.tasks))
    fingerprint = make_fingerprint(plan, ready.questionnaires, sglang)
    if folder.fingerprint.exists():
        if differing := differences(read_record(folder.fingerprint, Fingerprint), fingerprint):
            told = "\n  ".join(differing)
            raise HarnessError(f"the run cannot go on: start it anew, or make this what it was then:\n  {told}")
    else:
        write_record(folder.fingerprint, fingerprint)
    for questionnaire in ready.questionnaires:
        if questionnaire.name in plan.tasks:
            keep_prompts(folder.questions(questionnaire.name), questionnaire.contents())
    if plan.reuse_baseline is not None and not folder.arm(BASELINE).path.exists():
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
