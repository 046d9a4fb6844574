"""Where the time went, in every form of the report, and of runs that recorded none of it."""

import io
import json
import re
from itertools import pairwise

import pytest
from rich.console import Console

from harness.plan.plan import Plan
from harness.records.run import ArmRecord, read_record, write_record
from harness.records.run_folder import RunFolder
from harness.records.time_spent import Span
from harness.report.build import build_report
from harness.report.markdown import markdown
from harness.report.model import Report
from harness.report.page.timeline import Timeline, timeline
from harness.report.terminal import show
from harness.report.time_table import time_notes, time_summary
from harness.report.write import write_report
from tests.runs import ARMS, PASSES, finished, write_run
from tests.support import run_folder, whole_tables


def change(folder: RunFolder, arm: str, **changed: object) -> None:
    """Change what one arm's record says of its BoolQ: its seconds, or what these went into."""
    record = read_record(folder.arm(arm).record, ArmRecord)
    boolq = record.tasks["boolq"].model_copy(update=changed)
    write_record(folder.arm(arm).record, record.model_copy(update={"tasks": {**record.tasks, "boolq": boolq}}))


def slow_prefill(folder: RunFolder) -> None:
    """Have the compressed arm's BoolQ take 7 seconds, 5 of them in prefill."""
    spent = read_record(folder.arm("compressed").record, ArmRecord).tasks["boolq"].spent
    assert spent is not None
    passes = PASSES.model_copy(update={"prefill_seconds": 5.0})
    change(folder, "compressed", seconds=7.0, spent=spent.model_copy(update={"waited": 6.5, "passes": passes}))


def as_before(folder: RunFolder) -> None:
    """Take from a run's files what runs did not record before: in the records, and in the ranks' logs."""
    for arm in ARMS:
        file = folder.arm(arm).record
        record = json.loads(file.read_text())
        del record["starts"]
        for task in record["tasks"].values():
            del task["spent"]
        file.write_text(json.dumps(record))
        for log in folder.arm(arm).engagement.glob("rank-*.jsonl"):
            log.write_text(re.sub(r', "seconds": [0-9.e-]+', "", log.read_text()))


def table(report: Report) -> list[list[str]]:
    """Return the Markdown's table of the time, less its head."""
    part = markdown(report).split("## Where the time went\n")[1].split("\n## ")[0]
    (found,) = whole_tables(part.splitlines())
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in found[2:]]


def drawn(report: Report) -> Timeline:
    found = timeline(report.time)
    assert found is not None
    return found


def test_each_task_has_a_row_for_each_arm_and_one_for_their_ratio(plan: Plan) -> None:
    folder = finished(plan)
    slow_prefill(folder)
    rows = table(build_report(folder))
    assert [row[:2] for row in rows] == [
        [task, arm] for task in ("start", "boolq", "gsm8k") for arm in (*ARMS, "compressed / baseline")
    ]
    assert rows[0][2:] == ["12.3", *["-"] * 6]
    assert rows[3][2:] == ["5.0", "3.0", "1.0", "0.5", "0.5", "1,000", "90"]
    assert rows[4][2:] == ["7.0", "5.0", "1.0", "0.5", "0.5", "600", "90"]
    assert rows[5][2:] == ["1.40", "1.67", "1.00", "1.00", "1.00", "0.60", "1.00"]


def test_which_arm_was_slower_and_why_is_told_in_every_form(plan: Plan) -> None:
    folder = finished(plan)
    slow_prefill(folder)
    report = build_report(folder)
    write_report(report, folder)
    why = "compressed 12.0 s, 1.20 times the baseline's 10.0 s, the largest difference in prefill of boolq (+2.0 s)"
    assert report.time is not None
    said = time_summary(report.time)
    assert said == f"100 s: baseline 22 s (start 12), compressed 24 s (start 12); without starts {why}"
    assert f"\n{said}.\n" in folder.markdown.read_text()
    assert f"<p>{said}.</p>".replace("'", "&#39;") in folder.page.read_text()
    console = Console(width=300, record=True, file=io.StringIO())
    show(report, console, folder)
    assert f"\ntime: {said}\n" in console.export_text()
    slower = json.loads(folder.report.read_text())["time"]["slower"]
    assert (slower["task"], slower["part"], slower["difference"]) == ("boolq", "prefill", 2.0)
    assert "took 0.5 s of its passes" in folder.markdown.read_text()


def test_the_timeline_has_every_arm_on_one_clock(plan: Plan) -> None:
    folder = finished(plan)
    found = drawn(build_report(folder))
    assert ([row.arm for row in found.rows], found.unit) == (["baseline", "compressed"], "s")
    baseline, compressed = found.rows
    kinds = ["start", *2 * ["whole", "prefill", "decode", "server", "client"]]
    assert [bar.kind for bar in baseline.bars] == [bar.kind for bar in compressed.bars] == kinds
    assert max(bar.x + bar.width for bar in baseline.bars) < compressed.bars[0].x
    assert baseline.told == "start 12 s, boolq 5 s, gsm8k 5 s"
    for row in found.rows:
        _start, whole, *parts = row.bars[:6]
        assert whole.x == parts[0].x
        # The harness itself took what the parts leave free.
        assert sum(bar.width for bar in parts) <= whole.width
        assert all(one.x + one.width <= other.x + 0.2 for one, other in pairwise(parts))
    content = page(folder)
    assert 'role="img" aria-label="Timeline of the run; baseline: start 12 s, boolq 5 s, gsm8k 5 s; ' in content
    assert "<title>compressed, gsm8k: other server time 0.5 s</title>" in content


def page(folder: RunFolder) -> str:
    write_report(build_report(folder), folder)
    return folder.page.read_text(encoding="utf-8")


def test_a_resumed_run_has_both_its_starts(plan: Plan) -> None:
    folder = finished(plan)
    file = folder.arm("compressed").record
    record = read_record(file, ArmRecord)
    write_record(file, record.model_copy(update={"starts": [*record.starts, Span(began=60.0, ended=70.0)]}))
    spent = record.tasks["boolq"].spent
    assert spent is not None
    spans = [*spent.spans, Span(began=71.0, ended=72.0)]
    change(folder, "compressed", spent=spent.model_copy(update={"spans": spans}))
    report = build_report(folder)
    assert report.time is not None
    assert report.time.arms["compressed"].start == 22.34
    bars = [bar for bar in drawn(report).rows[1].bars if "boolq" in bar.title or bar.kind == "start"]
    assert [bar.kind for bar in bars].count("start") == [bar.kind for bar in bars].count("whole") == 2
    assert report.time.rest == pytest.approx(99.96 - 2 * (12.34 + 10.0) - 10.0)


def test_a_long_run_is_told_in_minutes(plan: Plan) -> None:
    report = build_report(finished(plan))
    assert report.time is not None
    found = timeline(report.time.model_copy(update={"seconds": 7200.0}))
    assert found is not None
    assert (found.unit, found.scale.high) == ("minutes", 120.0)


def test_a_run_that_recorded_none_of_it_has_its_report_as_before(plan: Plan) -> None:
    folder = finished(plan)
    new = build_report(folder)
    as_before(folder)
    report = build_report(folder)
    assert report.model_copy(update={"time": None}) == new.model_copy(update={"time": None})
    rows = table(report)
    assert rows[3] == ["boolq", "baseline", "5.0", *["-"] * 6]
    assert rows[5] == ["boolq", "compressed / baseline", "1.00", *["-"] * 6]
    content = page(folder)
    assert "What the seconds went into was not recorded in this run." in folder.markdown.read_text()
    assert "What the seconds went into was not recorded in this run." in content
    assert "When each arm did what was not recorded in this run." in content


def test_what_was_not_recorded_of_one_task_is_told(plan: Plan) -> None:
    folder = finished(plan)
    change(folder, "compressed", spent=None)
    said = markdown(build_report(folder))
    assert "Not recorded, or not whole, is what the seconds went into of: compressed boolq." in said


def test_a_report_of_before_is_read(plan: Plan) -> None:
    folder = finished(plan)
    write_report(build_report(folder), folder)
    written = json.loads(folder.report.read_text())
    del written["time"]
    assert Report.model_validate_json(json.dumps(written)).time is None


def test_a_run_that_measured_nothing_says_how_long_it_took(plan: Plan) -> None:
    write_run(plan, errors=["baseline: the server never came up"])
    report = build_report(run_folder(plan))
    assert report.time is not None
    assert time_summary(report.time) == "100 s"
    assert time_notes(report.time, report.arms) == ["Whole run 100.0 s, 100.0 s of it in neither a start nor a task."]
    assert "## Where the time went\n\n100 s.\n\nWhole run 100.0 s" in markdown(report)


def test_on_an_accelerator_nothing_is_divided_by_the_hosts_time(plan: Plan) -> None:
    folder = finished(plan)
    write_record(folder.plan, plan.model_copy(update={"device": "cuda"}))
    report = build_report(folder)
    rows = table(report)
    assert rows[3][2:] == ["5.0", "-", "-", "4.5", "0.5", "667", "20"]
    assert "The device computes while the host goes on" in markdown(report)
    assert [bar.kind for bar in drawn(report).rows[0].bars] == ["start", *2 * ["whole", "server", "client"]]
