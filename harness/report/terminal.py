"""The end of a run on screen: one table of tasks, one of ranks, and the verdict in words."""

from rich.console import Console
from rich.table import Table

from harness.judge.choices import Choices
from harness.judge.results import FidelityReport
from harness.judge.traffic import traffic_line
from harness.judge.verdict import Verdict
from harness.plan.data_line import data_line
from harness.records.run_folder import RunFolder
from harness.report.changes import Kind, asked_in, changed_questions
from harness.report.live_check import live_check_line
from harness.report.markdown import INTERVALS, interval, points, share, shifts, size, small
from harness.report.model import Report
from harness.report.texts import short
from harness.report.time_table import time_summary
from harness.safety import harmless

WORST, ANSWER, QUESTION = 3, 30, 90
STYLES = {
    Verdict.PASS: "bold green",
    Verdict.FAIL: "bold red",
    Verdict.INCONCLUSIVE: "bold yellow",
    Verdict.ERROR: "bold red",
    Verdict.REPORTED: "dim",
}


def show(report: Report, console: Console, folder: RunFolder) -> None:
    """Print the report's tables and its verdict; without a terminal the same in plain text."""
    _show_tables(report, console)
    for name, arm in report.arms.items():
        console.print(f"{name}: {traffic_line(arm)}", markup=False, highlight=False)
    for arm in report.arms.values():
        if arm.live_check is not None:
            console.print(live_check_line(arm.live_check), markup=False, highlight=False)
    if report.time is not None:
        console.print(f"time: {time_summary(report.time)}", markup=False, highlight=False, soft_wrap=True)
    console.print(data_line(report.data), markup=False, highlight=False, soft_wrap=True)
    for note in report.notes:
        console.print(f"to know: {note}", markup=False, highlight=False)
    console.print(f"\n{report.verdict}", style=STYLES[Verdict(report.verdict)], end=" ")
    console.print(f"{headline(report)} on {report.device}", markup=False, highlight=False)
    for warning in report.warnings:
        console.print("  WARNING", style=STYLES[Verdict.INCONCLUSIVE], end=" ")
        console.print(warning, markup=False, highlight=False)
    for reason in report.reasons:
        console.print(f"  {reason}", markup=False, highlight=False)
    for line in worst_lines(report, folder):
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"decision: {report.decision}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"page: {folder.page}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"report: {folder.markdown}", markup=False, highlight=False, soft_wrap=True)


def _show_tables(report: Report, console: Console) -> None:
    """Print the tables that have rows: one without says nothing, and least of all the cause of an ERROR."""
    moved = report.fidelity is not None and report.fidelity.compressed.overall is not None
    if answered := any(task.n for task in report.tasks.values()):
        console.print(_tasks(report))
    if report.fidelity is not None and moved:
        console.print(_fidelity(report.fidelity))
    if answered or moved:
        console.print(f"{INTERVALS}\n", markup=False, highlight=False)
    for name, task in report.tasks.items():
        if task.choices is not None:
            console.print(choices_line(name, task.choices), markup=False, highlight=False)
    if any(arm.engagement.ranks for arm in report.arms.values()):
        console.print(_ranks(report))


def headline(report: Report) -> str:
    """Return what follows the verdict: how many warnings there are, the suite and the model."""
    count = len(report.warnings)
    warned = f"with {count} WARNING{'S' if count > 1 else ''}, " if count else ""
    return f"{warned}{report.suite}: {report.model}"


def worst_lines(report: Report, folder: RunFolder) -> list[str]:
    """Return the worst questions in a line each: lost ones, whose margins fell farthest, with both answers."""
    lost = [entry for entry in changed_questions(report, folder) if entry.kind is Kind.LOST]
    lines = []
    for entry in lost[:WORST]:
        before, after = (repr(short(sample.answer or "", ANSWER)) for sample in (entry.baseline, entry.compressed))
        margins = entry.margins
        moved = f", margin {margins[0]:+.2f} to {margins[1]:+.2f} nats" if margins else ""
        asked = short(asked_in(folder, entry), QUESTION)
        line = f"lost: {entry.task}, question {entry.number}: {before}, then {after}{moved}"
        lines.append(harmless(f"{line}: {asked}" if asked else line))
    more = len(lost) - WORST
    return [*lines, f"and {more} more lost: see the page"] if more > 0 else lines


def choices_line(name: str, choices: Choices) -> str:
    """Return in a line what guessing scores and which way the answers shifted."""
    said = ", ".join(
        f"{choice!r} right {choices.right[number]:.2f}, said {choices.baseline[number]:.2f} and "
        f"{choices.compressed[number]:.2f}"
        for number, choice in enumerate(choices.names)
    )
    moved = choices.towards_last
    shifted = f"; shift towards {choices.names[-1]!r} {moved.mean:+.3f} nats" if moved else ""
    balanced = f"{choices.baseline_balanced:.3f} and {choices.compressed_balanced:.3f}"
    return f"{name}: balanced accuracy {balanced}; {said}{shifted}"


def _tasks(report: Report) -> Table:
    table = Table(title="Accuracy", title_justify="left")
    for name in (
        "task",
        "n",
        "baseline",
        "compressed",
        "change",
        "90 % interval",
        "lost/won",
        "changed (by itself)" if any(task.noise for task in report.tasks.values()) else "changed",
        "verdict",
    ):
        table.add_column(name, justify="left" if name in ("task", "verdict") else "right")
    for name, task in report.tasks.items():
        if not task.n:
            continue
        paired = task.paired
        table.add_row(
            name,
            str(task.n),
            share(task.baseline.accuracy),
            share(task.compressed.accuracy),
            points(paired.delta),
            f"{points(paired.delta_low)} {points(paired.delta_high)}",
            f"{paired.baseline_only}/{paired.compressed_only}",
            f"{paired.answers_changed}" + (f" ({task.noise.answers_changed})" if task.noise else ""),
            f"[{STYLES[Verdict(task.verdict)]}]{task.verdict}[/]",
        )
    if report.pooled is not None:
        pooled, paired = report.pooled, report.pooled.paired
        table.add_row(
            "all together",
            str(pooled.n),
            "",
            "",
            points(paired.delta),
            f"{points(paired.delta_low)} {points(paired.delta_high)}",
            f"{paired.baseline_only}/{paired.compressed_only}",
            f"{paired.answers_changed}",
            f"[{STYLES[Verdict(pooled.verdict)]}]{pooled.verdict}[/]",
        )
    return table


def _fidelity(fidelity: FidelityReport) -> Table:
    table = Table(title=f"Predictions of fixed text: {fidelity.verdict}", title_justify="left")
    for name in (
        "predictions",
        "n",
        "mean KL (90 % interval)",
        "99 %",
        "same top token",
        "log-likelihood a token",
    ):
        table.add_column(name, justify="left" if name == "predictions" else "right")
    for name, shift in shifts(fidelity):
        table.add_row(
            name,
            str(shift.predictions),
            interval(shift.kl),
            small(shift.kl_percentiles["99"]),
            share(shift.same_top.mean),
            small(shift.loglikelihood.mean),
        )
    return table


def _ranks(report: Report) -> Table:
    table = Table(title="Compressed all-reduces", title_justify="left")
    for name in ("arm", "rank", "prefills", "calls", "attention", "FFN", "elements", "sent"):
        table.add_column(name, justify="left" if name == "arm" else "right")
    for name, arm in report.arms.items():
        for rank in arm.engagement.ranks:
            table.add_row(
                name,
                str(rank.rank),
                str(rank.prefills),
                str(rank.calls),
                str(rank.sites["attention"].calls),
                str(rank.sites["ffn"].calls),
                str(rank.elements),
                size(rank.wire_bytes),
            )
    return table
