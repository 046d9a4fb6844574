"""The report's plots, read as what they are: text in an SVG file."""

import re

from harness.plan.plan import Plan
from harness.records.run_folder import RunFolder
from harness.records.samples import read_samples
from harness.report.build import build_report
from harness.report.write import write_report
from tests.answers import boolq, gsm8k, rewrite_samples
from tests.runs import finished, write_arm, write_run
from tests.support import run_folder


def written(folder: RunFolder) -> tuple[str, list[str]]:
    """Write a run's report; return report.md and the texts in report.svg, none where there is no such file."""
    write_report(build_report(folder), folder)
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", folder.plots.read_text()) if folder.plots.exists() else []
    return folder.markdown.read_text(), texts


def test_each_part_of_the_report_is_drawn(plan: Plan) -> None:
    markdown, texts = written(finished(plan))
    titles = [text for text in texts if re.match(r"Accuracy:|boolq: logp|Fixed text:|Live check:", text)]
    assert [title.split(":")[0] for title in titles] == ["Accuracy", "boolq", "Fixed text", "Live check"]
    assert markdown.count("](report.svg)") == 1
    assert markdown.index("](report.svg)") < markdown.index("## Accuracy")


def test_the_margins_are_drawn_question_by_question(plan: Plan) -> None:
    folder = finished(plan)
    paired = build_report(folder).tasks["boolq"].paired
    _, texts = written(folder)
    assert paired.baseline_only == paired.compressed_only == 1
    assert {"lost: 1", "won: 1", f"as before: {paired.both_right + paired.both_wrong}"} <= set(texts)


def test_margins_without_a_number_are_left_out(plan: Plan) -> None:
    folder = finished(plan)
    file = folder.arm("compressed").samples("boolq")
    first, *others = read_samples(file)
    rewrite_samples(file, [first.model_copy(update={"logprobs": None}), *others])
    _, texts = written(folder)
    [before] = [text for text in texts if text.startswith("as before: ")]
    paired = build_report(folder).tasks["boolq"].paired
    assert before == f"as before: {paired.both_right + paired.both_wrong - 1}"


def test_a_run_without_answers_has_no_plots_and_none_of_an_earlier_report(plan: Plan) -> None:
    write_run(plan, errors=["baseline: the server never came up"])
    folder = run_folder(plan)
    folder.plots.write_text("an earlier one")
    markdown, texts = written(folder)
    assert "report.svg" not in markdown
    assert not texts
    assert not folder.plots.exists()


def test_what_was_measured_before_a_run_broke_off_is_drawn(plan: Plan) -> None:
    write_run(plan, errors=["compressed: the server ended"])
    write_arm(plan, "baseline", {"boolq": boolq(), "gsm8k": gsm8k()})
    write_arm(plan, "compressed", {"boolq": boolq()})
    markdown, texts = written(run_folder(plan))
    assert markdown.startswith("# ERROR")
    assert any(text.startswith("boolq: logp") for text in texts)
    assert not any(text.startswith("gsm8k") for text in texts)
