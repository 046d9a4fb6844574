from pathlib import Path

import pytest

from harness.plan.plan import Plan
from harness.report.build import build_report
from harness.report.step_summary import MOST_BYTES, VARIABLE, add_step_summary, step_summary
from harness.report.text_plot import COLUMNS, accuracy_plot
from tests.answers import boolq, rewrite_samples
from tests.runs import finished, write_run
from tests.support import run_folder as folder_of
from tests.support import whole_tables


def test_the_report_is_added_to_what_the_step_wrote_before(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = build_report(finished(plan))
    file = tmp_path / "summary"
    file.write_text("before\n")
    monkeypatch.setenv(VARIABLE, str(file))
    add_step_summary(report)
    text = file.read_text()
    assert text.startswith("before\n# PASS: smollm2-cpu\n")
    assert "![" not in text
    assert "change of accuracy, points" in text
    assert text.index("```text") < text.index("\n## Accuracy")
    whole_tables(text.splitlines())


def test_outside_of_github_nothing_is_written(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    before = sorted(tmp_path.rglob("*"))
    report = build_report(finished(plan))
    written = sorted(set(tmp_path.rglob("*")) - set(before))
    add_step_summary(report)
    assert sorted(set(tmp_path.rglob("*")) - set(before)) == written


def test_a_summary_never_grows_beyond_what_a_step_may_write(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "summary"
    monkeypatch.setenv(VARIABLE, str(file))
    report = build_report(finished(plan)).model_copy(update={"notes": ["naïve " * 20] * 10_000})
    for _night in range(3):
        add_step_summary(report)
    assert MOST_BYTES - 2000 < file.stat().st_size <= MOST_BYTES
    assert file.read_text(encoding="utf-8").startswith("# PASS: smollm2-cpu")


@pytest.mark.parametrize("most", [0, 10, 300, 1000, 5000])
def test_what_is_cut_says_so_and_is_valid_text(plan: Plan, most: int) -> None:
    content = step_summary(build_report(finished(plan)), most)
    assert len(content) <= most
    if content:
        assert "cut: a step's summary holds 1 MiB" in content.decode()


def test_the_plot_in_characters(plan: Plan) -> None:
    folder = finished(plan)
    rewrite_samples(folder.arm("compressed").samples("boolq"), boolq(*range(32)))
    title, boolq_row, _, ends = accuracy_plot(build_report(folder)).splitlines()
    assert title.startswith("       change of accuracy")
    seen, limit, zero = (boolq_row.index(mark) for mark in "●┃┼")
    # 30 of 128 questions were lost, 10 points are allowed.
    assert seen < limit < zero
    assert zero - len("boolq  ") == COLUMNS // 2
    assert ends.strip().startswith("-")


def test_a_run_without_answers_has_no_plot(plan: Plan) -> None:
    write_run(plan, errors=["the server never came up"])
    report = build_report(folder_of(plan))
    assert accuracy_plot(report) == ""
    assert "```text" not in step_summary(report, MOST_BYTES).decode()
