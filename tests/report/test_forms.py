import io
from pathlib import Path

import pytest
from rich.console import Console

from harness.cli.app import PLAIN_WIDTH
from harness.config.thresholds import PooledThreshold
from harness.plan.plan import Plan
from harness.records.run_folder import RunFolder
from harness.report.build import build_report
from harness.report.markdown import markdown
from harness.report.model import Report
from harness.report.terminal import show
from harness.report.write import write_report
from harness.sglang_plugin.recorder import Recorder
from tests.answers import boolq, gsm8k
from tests.rank_logs import FACTS
from tests.runs import finished, write_arm, write_run
from tests.support import run_folder, whole_tables


def shown(report: Report, *, terminal: bool = False) -> str:
    console = Console(width=PLAIN_WIDTH, record=True, force_terminal=terminal, file=io.StringIO())
    show(report, console, RunFolder(Path("reports/x")))
    return console.export_text(styles=terminal)


def cut_early(plan: Plan, after: str) -> RunFolder:
    """Write a run that ended early, in the compressed arm or even before."""
    write_run(plan, errors=["compressed: the server ended with exit code 1\nlast | line"])
    if after != "nothing":
        write_arm(plan, "baseline", {"boolq": boolq(), "gsm8k": gsm8k()})
    if after == "the first task":
        folder = write_arm(plan, "compressed", {"boolq": boolq()})
        Recorder(folder.engagement).start(1, {**FACTS, "flag": True})
    if after == "an empty arm":
        run_folder(plan).arm("compressed").path.mkdir()
    return run_folder(plan)


@pytest.mark.parametrize("after", ["nothing", "the baseline", "an empty arm", "the first task"])
def test_a_run_that_ended_early_has_a_report_in_every_form(plan: Plan, after: str) -> None:
    folder = cut_early(plan, after)
    report = build_report(folder)
    assert (report.verdict, report.exit_code) == ("ERROR", 3)
    assert report.reasons[0] == "compressed: the server ended with exit code 1\nlast | line"
    # The cause, and in one line what it kept from being measured.
    finished_then = "" if after == "the first task" else "boolq, "
    assert report.reasons[1:] == [f"not finished for that reason: {finished_then}gsm8k, fidelity"]
    assert report.tasks["gsm8k"].compressed.accuracy is None
    assert report.tasks["gsm8k"].n == 0
    write_report(report, folder)
    text = folder.markdown.read_text()
    assert text.startswith("# ERROR: smollm2-cpu\n")
    assert "the server ended with exit code 1" in text
    assert ("never ready" in text) is (after != "the first task")
    said = shown(report)
    assert "the server ended with exit code 1" in said
    for form in (text, said):
        assert "-100.0" not in form
        assert "| gsm8k |" not in form.partition("## Where the time went")[0]
        assert ("90 % interval" in form) is (after == "the first task")
    for table in whole_tables(text.splitlines()) if "|---" in text else []:
        assert len(table) > 2


def test_markdown_tables_are_whole(plan: Plan) -> None:
    report = build_report(finished(plan))
    lines = markdown(report).splitlines()
    assert lines[0] == "# PASS: smollm2-cpu"
    for table in whole_tables(lines):
        assert len(table) > 2, f"a table without rows: {table}"
    row = next(line for line in lines if line.startswith("| boolq | 128 of 128"))
    assert "| 0.984 | 0.984 | +0.0 |" in row
    assert "| 1 / 1 | 0.75 | 2 | - / - | 0 / 0 | PASS |" in row
    assert f"Build this report again: `nox -s report -- {plan.folder}`" in lines
    assert "**Decision**: compression may be switched on by your thresholds" in lines
    assert "- **data**: packaged (somewhere)" in lines
    assert "Implementation: harness.collective, codec int8_token, one_shot, 3 layers." in lines


def test_the_terminal_shows_tables_whole_and_the_verdict_in_words(plan: Plan) -> None:
    report = build_report(finished(plan))
    text = shown(report)
    assert "\u2026" not in text
    lines = text.splitlines()
    row = next(line for line in lines if "boolq" in line and "128" in line)
    for cell in ("0.984", "+0.0", "1/1", "PASS"):
        assert cell in row
    assert any(line.startswith("PASS smollm2-cpu: SmolLM2-135M-Instruct on cpu") for line in lines)
    assert lines[-2:] == ["page: reports/x/report.html", "report: reports/x/report.md"]
    assert sum("compressed" in line and "0.0 MiB" in line for line in lines) == 2
    assert "Predictions of fixed text: PASS" in text
    assert any("tokens 1-7" in line and "0 (0 to 0)" in line for line in lines)


def test_colour_is_for_terminals(plan: Plan) -> None:
    report = build_report(finished(plan))
    assert "\x1b[1;32mPASS" in shown(report, terminal=True)
    assert "\x1b" not in shown(report)


def test_the_bounds_that_decide_and_what_guessing_scores_are_shown(plan: Plan) -> None:
    report = build_report(finished(plan))
    text = markdown(report)
    drop = report.tasks["boolq"].tests.drop
    assert drop is not None
    row = next(line for line in text.splitlines() if line.startswith("| boolq | 128 | 128 |"))
    # Of the budget, three parts of four are those of the predictions.
    assert f"| 10 | {drop.low * 100:+.1f} (95% sure) | {drop.high * 100:+.1f} (98.75% sure) | PASS |" in row
    assert "| boolq | `'no'` | 0.500 |" in text
    assert "boolq: balanced accuracy 0.984 and 0.984; 'no' right 0.50, said 0.50 and 0.50" in shown(report)


def test_all_tasks_together_stand_below_them(plan: Plan) -> None:
    pooled = plan.model_copy(update={"pooled": PooledThreshold(max_drop=0.1, source="here")})
    report = build_report(finished(pooled))
    lines = markdown(report).splitlines()
    (row,) = [line for line in lines if line.startswith("| all together |")]
    assert row.endswith("| PASS |")
    assert "(95% sure)" in row
    assert "(97.5% sure)" in row
    assert any("all together" in line and "128" in line for line in shown(report).splitlines())
    whole_tables(lines)
