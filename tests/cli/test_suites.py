"""The suites on the command line: listed, written anew, and what their questions can decide."""

import shutil
from pathlib import Path

from harness.config.load import suite_names
from harness.places import SUITES
from tests.cli.harness import WILLING, Harness
from tests.support import make_options, write_interpreter, write_rows


def test_suites_are_listed_by_name_device_model_and_description(harness: Harness) -> None:
    ran = harness("suites")
    rows = [line.split("\t") for line in ran.out.splitlines()]
    assert ran.code == 0
    assert [row[0] for row in rows] == suite_names()
    assert {row[0]: row[1] for row in rows}["qwen3-8b-npu"] == "npu"
    assert {row[0]: row[2] for row in rows}["qwen3-8b-npu"] == "Qwen/Qwen3-8B"
    assert all(len(row) == 4 and row[3] for row in rows)


def test_suites_of_one_device(harness: Harness) -> None:
    assert [line.split("\t")[0] for line in harness("suites", "--device", "cpu").out.splitlines()] == [
        "smollm2-cpu",
        "tiny-moe-cpu",
    ]
    assert harness("suites", "--device", "abacus").out == ""


def test_suites_that_judge_something(harness: Harness, tmp_path: Path) -> None:
    """What a night runs: a mixture of experts of random weights is proven and judged by nobody."""
    judged = [line.split("\t")[0] for line in harness("suites", "--judged").out.splitlines()]
    assert set(suite_names()) - set(judged) == {"tiny-moe-cpu"}
    broken = tmp_path / "suite.yaml"
    broken.write_text("device: cpu\n")
    assert harness("suites", str(broken), "--judged").out.split("\t")[1] == "broken"
    # Wrong thresholds: its run says what is wrong with them.
    shutil.copy(SUITES / "tiny-moe-cpu.yaml", broken)
    (tmp_path / "thresholds.yaml").write_text("models: {}\n")
    assert harness("suites", str(broken), "--judged").out


def test_a_suite_of_ones_own_from_the_first_command_to_the_plan(harness: Harness) -> None:
    write_interpreter(harness.folder / "bin", WILLING)
    options = make_options(harness.folder)
    out = harness.folder / "mine"
    ran = harness("new", "--model", str(options.model_path), "--out", str(out))
    assert ran.code == 0, ran.err
    suite = str(out / "model.yaml")
    assert f"nox -s accuracy -- --suite {suite} --dry-run" in ran.out
    usual = (
        *("accuracy", "--suite", suite, "--dry-run", "--server-python", str(options.server_python)),
        *("--plugin-path", str(options.plugin_path)),
    )
    empty = harness(*usual)
    assert empty.code == 3
    assert f"the data lacks {out / 'data' / 'questions.jsonl'}" in empty.err
    rows = [{"question": f"{number}?", "choices": ["a", "b"], "answer": number % 2} for number in range(200)]
    write_rows(out / "data" / "questions.jsonl", rows)
    planned = harness(*usual)
    assert planned.code == 0, planned.out
    assert f"thresholds: {out / 'thresholds.yaml'}; SGLang's Python: {options.server_python}" in planned.out
    assert f"the run's folder: {out / 'reports'}" in planned.out
    assert "questions: 200 questions on each arm, 8 at a time" in planned.out


def test_a_broken_suite_is_listed_as_that_and_stops_no_other(harness: Harness) -> None:
    suites = harness.folder / "suites"
    shutil.copytree(SUITES, suites)
    (suites / "broken.yaml").write_text("nothing: of use\n")
    harness.monkeypatch.setattr("harness.config.load.SUITES", suites)
    ran = harness("suites")
    assert ran.code == 0
    rows = {line.split("\t")[0]: line.split("\t")[1] for line in ran.out.splitlines()}
    assert rows["broken"] == "broken"
    assert rows["smollm2-cpu"] == "cpu"
    assert "broken.yaml" in ran.err


def test_what_a_suites_questions_can_decide_is_said_before_any_is_asked(harness: Harness) -> None:
    ran = harness("plan-questions", "--suite", "qwen3-8b-npu")
    assert ran.code == 0, ran.err
    assert "  pooled.max_drop: 2.50%" in ran.out
    assert "the run" in ran.out
    assert "gsm8k: a harmless model misses the floor 0.85 (shown, not judged) in 30% at a true 0.86" in ran.out
    few = harness("plan-questions", "--suite", "qwen3-8b-npu", "--limit", "50")
    assert "gsm8k: 50 questions, allowed drop 3 points" in few.out
    assert "nothing to plan" in harness("plan-questions").out
    assert harness("plan-questions", "--suite", "no-such").code == 3
