import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli import ready
from harness.cli.main import main
from harness.config.load import suite_names
from harness.config.suite import Source
from harness.errors import HarnessError, NotFetchedError
from harness.places import ROOT, SUITES
from harness.plan.plan import Plan
from harness.records.run import RunRecord, read_record, write_record
from harness.report.build import build_report
from tests.support import (
    GSM8K_ROWS,
    PASSAGES,
    boolq,
    gsm8k,
    make,
    make_options,
    run_folder,
    write_arm,
    write_interpreter,
    write_rows,
    write_run,
)

# Stands for an interpreter whose SGLang takes everything.
WILLING = """echo '{"sglang": "0.5.23", "problems": [], "settings": [], "spelled": {}, "packages": "", \
"every_package": {}, "plugin": ""}'"""


class Ran:
    """What a command line came to."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> "Harness":
    for name in ("HARNESS_SERVER_PYTHON", "HARNESS_PLUGIN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    # Messages are compared: a terminal's width must not break their lines.
    monkeypatch.setenv("COLUMNS", "500")
    return Harness(monkeypatch, capsys, tmp_path)


class Harness:
    """Runs the command line in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
        self.monkeypatch, self._capsys, self.folder = monkeypatch, capsys, folder

    def __call__(self, *arguments: str) -> Ran:
        self.monkeypatch.setattr(sys, "argv", ["harness", *arguments])
        self.monkeypatch.setattr("signal.signal", lambda *_: None)
        code = main()
        captured = self._capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    def accuracy(self, *arguments: str) -> Ran:
        """Run `accuracy` as `on_tiny_data` does."""
        return self.on_tiny_data("accuracy", *arguments)

    def on_tiny_data(self, command: str, *arguments: str) -> Ran:
        """Run a command with a stand-in interpreter, plugin and model, and tiny data."""
        options = make_options(self.folder)
        data = self.folder / "own"
        write_rows(data / "gsm8k" / "test.jsonl", GSM8K_ROWS)
        write_rows(data / "boolq" / "validation.jsonl", PASSAGES)
        usual = [
            *("--server-python", str(options.server_python), "--plugin-path", str(options.plugin_path)),
            *("--model-path", str(options.model_path), "--data", "folder", "--data-folder", str(data)),
            *("--reports", str(options.reports), "--limit", "3"),
        ]
        return self(command, *usual, *arguments)


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


def test_an_unknown_suite_is_an_error_that_lists_those_there_are(harness: Harness) -> None:
    ran = harness.accuracy("--suite", "qwen4")
    assert ran.code == 3
    assert ran.err.startswith("ERROR\nthere is no suite 'qwen4'")
    assert ran.err.endswith(f"there are: {', '.join(suite_names())}\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["accuracy", "--no-such-option"], "No such option"),
        (["accuracy", "--limit", "0"], "--limit"),
        (["accuracy", "--limit", "few"], "--limit"),
        (["accuracy", "--port", "70000"], "--port"),
        (["accuracy", "--data", "attic"], "--data"),
        (["accuracy", "--suite"], "--suite"),
        (["accuracy", "stray"], "stray"),
        (["no-such-command"], "no-such-command"),
        (["report"], "run"),
    ],
)
def test_a_command_line_that_is_none_is_no_inconclusive(harness: Harness, arguments: list[str], says: str) -> None:
    ran = harness(*arguments)
    assert ran.code == 3
    assert ran.err.startswith("ERROR\n")
    assert "Traceback" not in ran.err
    assert says.lower() in ran.err.lower()


@pytest.mark.parametrize("arguments", [["--help"], ["accuracy", "--help"], ["report", "--help"]])
def test_help_is_no_error(harness: Harness, arguments: list[str]) -> None:
    ran = harness(*arguments)
    assert ran.code == 0
    assert "Usage" in ran.out


def test_started_without_nox(harness: Harness) -> None:
    ran = harness("accuracy")
    assert ran.code == 3
    assert "start through `nox -s accuracy`, or set HARNESS_SERVER_PYTHON and HARNESS_PLUGIN_PATH" in ran.err


def test_an_interpreter_that_is_not_there(harness: Harness) -> None:
    ran = harness.accuracy("--server-python", str(harness.folder / "nowhere" / "python"))
    assert ran.code == 3
    assert "there is no Python interpreter at" in ran.err
    assert "--server-python" in ran.err


def test_a_model_that_is_not_there(harness: Harness) -> None:
    ran = harness.accuracy("--model-path", "./nowhere")
    assert ran.code == 3
    assert "there is no model folder at" in ran.err


def test_data_that_is_not_there(harness: Harness) -> None:
    ran = harness.accuracy("--data-folder", str(harness.folder / "nowhere"))
    assert ran.code == 3
    assert f"there is no folder {harness.folder / 'nowhere'}: it would hold boolq/validation.jsonl" in ran.err


def test_a_dry_run_ends_as_the_run_would(harness: Harness) -> None:
    nowhere = harness.accuracy("--data-folder", "/nowhere", "--dry-run")
    assert nowhere.code == 3
    assert nowhere.err.startswith("ERROR\nthere is no folder /nowhere: it would hold boolq/validation.jsonl")
    # The stand-in's SGLang cannot be asked: so it is in the run.
    broken = harness.accuracy("--dry-run")
    assert broken.code == 3
    assert "ERROR on this machine the run would be refused: " in broken.out
    assert "cannot examine its SGLang (exit code 9)" in broken.out
    assert harness.accuracy("--dry-run", "--model-path", "./nowhere").code == 3


def test_a_dry_run_asks_no_hub(harness: Harness) -> None:
    write_interpreter(harness.folder / "bin", WILLING)
    options = make_options(harness.folder)

    def prepared(source: Source, place: Path, *, fetch: bool = True, **_options: object) -> dict[str, object]:
        if source is Source.HUB:
            assert not fetch
            raise NotFetchedError("the hub's data is not here yet")
        problems = [{"question": f"What is {number}?", "answer": f"#### {number}"} for number in range(70)]
        write_rows(place / "gsm8k" / "test.jsonl", problems)
        passages = [{**PASSAGES[0], "passage": f"It is {number}."} for number in range(70)]
        write_rows(place / "boolq" / "validation.jsonl", passages)
        return {"source": "packaged", "origin": "x", "files": {}}

    harness.monkeypatch.setattr(ready, "prepare_data", prepared)
    ran = harness(
        *("accuracy", "--suite", "qwen3-8b-npu", "--dry-run", "--server-python", str(options.server_python)),
        *("--plugin-path", str(options.plugin_path), "--model-path", str(options.model_path)),
    )
    assert ran.out.startswith("the hub's data is not here yet\nThe requests below are made of the packaged data")
    assert "gsm8k: 64 questions on each arm" in ran.out


def test_a_data_folder_alone_is_meant_and_one_beside_another_source_is_refused(harness: Harness) -> None:
    write_interpreter(harness.folder / "bin", WILLING)
    options = make_options(harness.folder)
    write_rows(harness.folder / "mine" / "gsm8k" / "test.jsonl", GSM8K_ROWS)
    write_rows(harness.folder / "mine" / "boolq" / "validation.jsonl", PASSAGES)
    usual = (
        *("accuracy", "--dry-run", "--limit", "3", "--server-python", str(options.server_python)),
        *("--plugin-path", str(options.plugin_path), "--model-path", str(options.model_path)),
        *("--data-folder", str(harness.folder / "mine")),
    )
    ran = harness(*usual)
    assert ran.code == 0, ran.out
    assert ran.out.startswith(f"data: folder ({harness.folder / 'mine'}): boolq/validation.jsonl 4 rows, SHA-256 ")
    refused = harness(*usual, "--data", "packaged")
    assert refused.code == 3
    assert "beside --data packaged, which reads no folder" in refused.err


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


def test_an_all_reduce_from_a_file(harness: Harness) -> None:
    write_interpreter(harness.folder / "bin", WILLING)
    harness.monkeypatch.chdir(harness.folder)
    ran = harness.accuracy("--dry-run", "--codec", "./my_reduce.py:f", "--claims", "int8_group64")
    assert ran.code == 0, ran.out
    assert f"HARNESS_PLUGIN_CODEC={harness.folder}/my_reduce.py:f" in ran.out
    assert "HARNESS_PLUGIN_CLAIMS=int8_group64" in ran.out
    without = harness.accuracy("--dry-run", "--codec", "./my_reduce.py:f")
    assert without.code == 3
    assert "say with `claims` which codec's bound applies" in without.err


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


def test_the_help_says_no_default_for_what_is_switched_off(harness: Harness) -> None:
    text = harness("accuracy", "--help").out
    line = next(line for line in text.splitlines() if "--no-live-check" in line)
    assert "default" not in line


def test_an_interpreter_whose_sglang_cannot_be_asked(harness: Harness) -> None:
    ran = harness.accuracy()
    assert ran.code == 3
    assert "cannot examine its SGLang (exit code 9)" in ran.err
    assert not (harness.folder / "reports").exists()


def test_a_dry_run_shows_everything_and_does_nothing(harness: Harness) -> None:
    write_interpreter(harness.folder / "bin", WILLING)
    ran = harness.accuracy("--dry-run")
    assert ran.code == 0, ran.out
    assert ran.out.count('--config "$KEY_FILE"') == 2
    assert ran.out.startswith(f"data: folder ({harness.folder / 'own'}): boolq/validation.jsonl 4 rows, SHA-256 ")
    assert "expected time: unknown: there is no finished run of smollm2-cpu in" in ran.out
    assert ran.out.count("--enable-quant-communications") == 1
    assert "boolq: 3 questions on each arm, 16 at a time" in ran.out
    assert "gsm8k: 3 questions on each arm, 16 at a time" in ran.out
    assert "What is 5 and 1?\\nAnswer:'" in ran.out
    assert "'report_only': True" in ran.out
    assert "  order: 'rows by the SHA-256 of seed and number, seed 0" in ran.out
    assert "fidelity: 6 texts on each arm, 8 at a time" in ran.out
    assert "  texts: {'gsm8k': 3, 'boolq': 3}" in ran.out
    assert not (harness.folder / "reports").exists()


def test_an_unforeseen_failure_is_an_error_and_no_fail(harness: Harness) -> None:
    """Python's own exit code for an exception is 1, which here means that accuracy was lost."""

    def broken(_name: str, **_options: object) -> None:
        raise ZeroDivisionError("nobody thought of this")

    harness.monkeypatch.setattr(ready, "load", broken)
    ran = harness.accuracy()
    assert ran.code == 3
    assert "ZeroDivisionError: nobody thought of this" in ran.err


def test_ctrl_c(harness: Harness) -> None:
    def interrupted(_name: str, **_options: object) -> None:
        raise KeyboardInterrupt

    harness.monkeypatch.setattr(ready, "load", interrupted)
    ran = harness.accuracy()
    assert ran.code == 130
    assert "interrupted" in ran.err


@pytest.mark.parametrize(("lost", "verdict", "code"), [(0, "PASS", 0), (60, "FAIL", 1), (10, "INCONCLUSIVE", 2)])
def test_a_report_is_built_again_and_ends_with_the_runs_code(
    harness: Harness, lost: int, verdict: str, code: int
) -> None:
    plan = make(harness.folder)
    write_run(plan)
    write_arm(plan, "baseline", {"boolq": boolq(), "gsm8k": gsm8k()})
    write_arm(plan, "compressed", {"boolq": boolq(*range(lost)), "gsm8k": gsm8k()})
    ran = harness("report", plan.folder)
    assert ran.code == code
    assert re.search(rf"^{verdict} (with \d WARNINGS?, )?smollm2-cpu: ", ran.out, re.MULTILINE)
    assert ("WARNING boolq: more answers are lost than won" in ran.out) is (lost > 0)
    assert "\x1b" not in ran.out
    assert (Path(plan.folder) / "report.json").is_file()
    assert not (harness.folder / "reports" / "latest").exists()
    assert build_report(run_folder(plan)).rebuild.endswith(plan.folder)


def test_a_calibrations_proposals_are_built_again(harness: Harness) -> None:
    plan = make(harness.folder, baselines=2, early_stop=False)
    write_run(plan, versions={"sglang": "0.5.23"})
    for arm in plan.arms:
        write_arm(plan, arm.name, {"boolq": boolq(*range(20)), "gsm8k": gsm8k(*range(16))})
    first, again = harness("report", plan.folder), harness("report", plan.folder)
    assert (first.code, again.code) == (0, 0), first.err
    assert "max_drop" in first.out
    assert first.out == again.out
    folder = run_folder(plan)
    assert first.out.splitlines()[-1] == f"report: {folder.calibration_markdown}"
    assert json.loads(folder.calibration.read_text())["tasks"]["boolq"]["n"] == 128
    assert not folder.report.exists()
    write_run(plan, errors=["baseline: the server died"])
    broken = harness("report", plan.folder)
    assert broken.code == 3
    assert "ERROR baseline: the server died" in broken.out


def test_a_calibration_plans_its_baselines_alone(harness: Harness) -> None:
    planned: list[Plan] = []

    def carried_out(plan: Plan, _display: object, **_: bool) -> None:
        planned.append(plan)
        raise HarnessError("enough")

    harness.monkeypatch.setattr("harness.run.pipeline.calibrate", carried_out)
    ran = harness.on_tiny_data("calibrate", "--runs", "2")
    assert (ran.code, ran.err) == (3, "ERROR\nenough\n")
    assert [arm.name for arm in planned[0].arms] == ["baseline", "baseline-2"]
    assert planned[0].calibrates


@pytest.mark.parametrize("command", ["accuracy", "calibrate"])
def test_a_run_goes_on_as_it_was_planned(harness: Harness, command: str) -> None:
    ran = harness(command, "--resume", str(harness.folder), "--limit", "3", "--port", "4")
    assert ran.code == 3
    assert "leave --limit, --port out, --resume stands alone" in ran.err


def test_a_run_that_ended_or_is_none_does_not_go_on(harness: Harness) -> None:
    assert "plan.json cannot be read" in harness("accuracy", "--resume", str(harness.folder)).err
    plan = make(harness.folder)
    write_run(plan)
    ran = harness("accuracy", "--resume", plan.folder)
    assert (ran.code, ran.err.count("nothing to resume")) == (3, 1)


def test_a_run_goes_on_under_its_own_command(harness: Harness) -> None:
    plan = make(harness.folder)
    write_run(plan, errors=["baseline: the server died"])
    record = read_record(run_folder(plan).run, RunRecord)
    write_record(run_folder(plan).run, record.model_copy(update={"state": "broken"}))
    ran = harness("calibrate", "--resume", plan.folder)
    assert ran.code == 3
    assert "is a run of `accuracy`: resume it with that" in ran.err


def test_a_report_of_nothing(harness: Harness) -> None:
    ran = harness("report", str(harness.folder))
    assert ran.code == 3
    assert "plan.json cannot be read" in ran.err


def test_the_module_can_be_run(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "harness", "report", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert done.stderr.startswith("ERROR\n")
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--ranks", "1"], "--ranks: Input should be greater than or equal to 2"),
        (["--ranks", "two"], "--ranks takes numbers with commas"),
        (["--budget-kl", "-1"], "--budget-kl: Input should be greater than 0"),
        (["--codecs", ","], "--codecs names none"),
        (
            ["--parts", "2"],
            "--parts says among how many servers a study is shared out: name their cluster with --ray",
        ),
        (["--ray", "auto", "--parts", "0"], "0 is not in the range x>=1"),
    ],
)
def test_a_studys_options_are_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    monkeypatch.setenv("HARNESS_SERVER_PYTHON", sys.executable)
    monkeypatch.setenv("HARNESS_PLUGIN_PATH", "/nowhere")
    monkeypatch.setattr(sys, "argv", ["harness", "study", *options])
    assert main() == 3
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


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
