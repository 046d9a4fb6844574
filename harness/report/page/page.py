"""report.html: the report for a browser, in one file that loads nothing."""

import shlex
from dataclasses import dataclass

from harness.errors import HarnessError
from harness.judge.results import TaskReport
from harness.judge.run import goes_on
from harness.places import ROOT
from harness.plan.plan import COMPRESSED, Plan
from harness.records.questions import read_prompts
from harness.records.run import RunRecord, read_record
from harness.records.run_folder import RunFolder
from harness.report.changes import Kind, changed_questions
from harness.report.markdown import shifts
from harness.report.model import Report
from harness.report.page import charts
from harness.report.page.figures import FIGURES
from harness.report.page.frame import render
from harness.report.page.questions import MOST_QUESTIONS, Prompts, anchor, cards, counts, prompts
from harness.report.page.timeline import timeline
from harness.report.plots import pairs_of
from harness.report.time_table import HEAD, time_notes, time_rows, time_summary

TEMPLATE = "report.html.jinja"
KINDS = {
    Kind.LOST: ("Lost", "right in the baseline alone"),
    Kind.FAILED: ("Failed", "a request without an answer"),
    Kind.WON: ("Won", "right in the compressed arm alone"),
    Kind.OTHER: ("Answered otherwise", "another answer, as right or wrong as before"),
}


@dataclass(frozen=True, kw_only=True)
class TaskSection:
    """What the page shows of a task.

    Attributes:
        name: Its name.
        task: What the report says of it.
        accuracy: Its chart; None where nothing was answered.
        margins: Its margins; None for generated answers.
        prompts: Its prompts.
        changed: How many of its questions changed, by kind.
    """

    name: str
    task: TaskReport
    accuracy: charts.Accuracy | None
    margins: charts.Margins | None
    prompts: Prompts
    changed: dict[Kind, int]


def page(report: Report, folder: RunFolder) -> str:
    """Return the report as a page: the same for the same files.

    Args:
        report: The report.
        folder: The run's folder: answers and prompts are shown from its samples and questions.
    """
    found = changed_questions(report, folder)
    sections = [
        TaskSection(
            name=name,
            task=task,
            accuracy=charts.accuracy(task),
            margins=charts.margins(pairs_of(folder, name, task)),
            prompts=_prompts(folder, name),
            changed=counts([entry for entry in found if entry.task == name]),
        )
        for name, task in report.tasks.items()
    ]
    names = list(report.tasks)
    check = report.arms[COMPRESSED].live_check if COMPRESSED in report.arms else None
    return render(
        TEMPLATE,
        filters=FIGURES,
        report=report,
        sections=sections,
        cards=cards(found, {section.name: section.prompts for section in sections}),
        counts=counts(found),
        changed=len(found),
        most=MOST_QUESTIONS,
        tabs={name: number for number, name in enumerate(names)},
        anchor=lambda task, number: anchor(names, task, number),
        predictions=charts.predictions(report.fidelity) if report.fidelity else None,
        layers=charts.layers(check) if check else None,
        check=check,
        timeline=timeline(report.time),
        time_head=HEAD,
        time_rows=time_rows,
        time_notes=time_notes,
        time_summary=time_summary,
        shifts=shifts,
        path=charts.path,
        kinds=KINDS,
        resume=_resume(folder),
        history=_history(folder, report.suite),
    )


def _prompts(folder: RunFolder, task: str) -> Prompts:
    try:
        return prompts(read_prompts(folder.questions(task)))
    except HarnessError as error:
        return prompts({}, str(error))


def _history(folder: RunFolder, suite: str) -> str:
    """Return the command that shows the suite's runs beside each other."""
    reports = folder.path.parent
    elsewhere = () if reports == ROOT / "reports" else ("--reports", str(reports))
    return shlex.join(("nox", "-s", "history", "--", "--suite", suite, *elsewhere))


def _resume(folder: RunFolder) -> str | None:
    """Return the command that goes on with a run which did not get to its end."""
    try:
        run, plan = read_record(folder.run, RunRecord), read_record(folder.plan, Plan)
    except HarnessError:
        return None
    return plan.resume if goes_on(run) else None
