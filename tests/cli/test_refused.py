"""The command line as a whole: what it refuses, and with which exit code and words."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli import ready
from harness.config.load import suite_names
from harness.places import ROOT
from tests.cli.harness import Harness


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


def test_the_help_says_no_default_for_what_is_switched_off(harness: Harness) -> None:
    text = harness("accuracy", "--help").out
    line = next(line for line in text.splitlines() if "--no-live-check" in line)
    assert "default" not in line


def test_an_interpreter_whose_sglang_cannot_be_asked(harness: Harness) -> None:
    ran = harness.accuracy()
    assert ran.code == 3
    assert "cannot examine its SGLang (exit code 9)" in ran.err
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
        (["--ray", "auto", "--parts", "0"], "Invalid value for '--parts'"),
    ],
)
def test_a_studys_options_are_refused_by_name(harness: Harness, options: list[str], said: str) -> None:
    ran = harness("study", "--server-python", sys.executable, "--plugin-path", "/nowhere", *options)
    assert ran.code == 3
    assert said in ran.err
    assert "Traceback" not in ran.err
