"""Writes what a person needs to decide about a model of their own: suite, task, thresholds, a place for the data."""

import re
from pathlib import Path
from string import Template

from harness.errors import HarnessError
from harness.places import SUITES

# Whose server arguments a new suite begins with.
LIKE = {"cpu": "smollm2-cpu", "cuda": "smollm2-cuda", "npu": "qwen3-8b-npu"}

SUITE = Template("""\
# Is this model still as accurate with compressed all-reduces? Every key: suites/README.md of the harness.
description: $description
device: $device
model:
  name: $name
  path: $path
# As in the suite $like; both servers get the same.
$server# Asked first: `right` must be generated after `prompt`, and be likelier than `wrong`.
known_answer:
  prompt: The capital of France is
  right: " Paris"
  wrong: " banana"
# data/questions.jsonl: see data/README.md.
data: folder
data_folder: data
tasks:
  questions:
    file: questions.yaml
    # The first so many lines; 200 tell drops of about 5 points, 1000 of about 2.
    questions: 200
    concurrency: 8
    # For an instruction model: have its chat template word the prompts.
    # apply_chat_template: true
    # thinking: false
  # Any task of lm-eval, by its name, from a file in its own columns:
  # arc_easy: {questions: 500, data_files: {test: arc/test.jsonl}}
# How far the predictions of questions move, each with its right answer: thousands of graded ones, where an answer is
# right or wrong. Decided from 64 on, at most as many as are asked above.
fidelity:
  tasks: {questions: 64}
  concurrency: 8
# A WARNING (many answers changed, though accuracy did not) makes the run a FAIL:
# strict: true
""")

TASK = Template("""\
# A task of lm-eval's form: each of the choices is scored after the prompt, the likeliest is the answer.
task: questions
dataset_path: json
output_type: multiple_choice
test_split: test
num_fewshot: 0
doc_to_text: "Question: {{question}}\\nAnswer:"
doc_to_choice: "{{choices}}"
doc_to_target: "{{answer}}"
metric_list:
  - metric: acc
metadata:
  version: 1.0
  data_files: {test: questions.jsonl}
""")

THRESHOLDS = Template("""\
# What is accepted of this model. Every key: docs/thresholds.md of the harness.
models:
  $name:
    questions:
      metric: acc,none
      # Five points at most, shown with 95 % confidence, which takes some 200 questions. With fewer of them say
      # `report_only: true` in place of both keys: then the predictions below decide alone.
      max_drop: 0.05
      # Fewer decide nothing.
      min_questions: 100
      source: chosen by us, not calibrated; `nox -s calibrate -- --suite $suite` proposes numbers
    fidelity:
      # Right answers and their questions may become this much less likely, in nats a token: 0.05 is 5 % of a token's
      # probability. Other limits (max_mean_kl): docs/thresholds.md.
      max_loglikelihood_drop: 0.05
      source: chosen by us, not calibrated
""")

DATA = """\
questions.jsonl: one question a line, each as in questions.jsonl.example:

  question   the text
  choices    two or more texts
  answer     which of them is right, counted from 0

Lines that repeat a question are counted once, broken ones are refused by their numbers.
"""
EXAMPLE = """\
{"question": "Which of these is a metal?", "choices": ["iron", "wood", "glass"], "answer": 0}
{"question": "How many legs has a spider?", "choices": ["six", "eight"], "answer": 1}
"""


def write_new_suite(model: str, device: str, out: Path) -> Path:
    """Write a suite with all that belongs to it.

    Args:
        model: The model's folder, or a hub's name.
        device: `cpu`, `cuda` or `npu`.
        out: The folder to make.

    Returns:
        The suite's file.

    Raises:
        HarnessError: The device is unknown, or the folder is there or cannot be made.
    """
    if device not in LIKE:
        raise HarnessError(f"--device {device} is none of {', '.join(LIKE)}")
    # Absolute where it is a folder: what the suite names relatively would be beside it.
    path = str(Path(model).absolute()) if Path(model).is_dir() else model
    name = Path(path).name
    suite = out / f"{re.sub('[^A-Za-z0-9._-]', '-', name)}.yaml"
    said = {
        "name": _quoted(name),
        "description": _quoted(f"{name} on {device}, asked questions of our own"),
        "path": _quoted(path),
        "device": device,
        "like": LIKE[device],
        "suite": str(suite),
        "server": _server(LIKE[device]),
    }
    try:
        (out / "data").mkdir(parents=True)
        suite.write_text(SUITE.substitute(said), encoding="utf-8")
        (out / "thresholds.yaml").write_text(THRESHOLDS.substitute(said), encoding="utf-8")
        (out / "questions.yaml").write_text(TASK.substitute(said), encoding="utf-8")
        (out / "data" / "README.md").write_text(DATA, encoding="utf-8")
        (out / "data" / "questions.jsonl.example").write_text(EXAMPLE, encoding="utf-8")
    except OSError as error:
        raise HarnessError(f"{out} cannot be made: {error}; name another folder with --out") from error
    return suite


def _server(suite: str) -> str:
    """Return the server's part of a suite's file as it stands there, comments and all."""
    text = (SUITES / f"{suite}.yaml").read_text(encoding="utf-8")
    found = re.search(r"^server:\n(?:[ #].*\n|\n)*", text, re.MULTILINE)
    if found is None:
        raise HarnessError(f"the suite {suite} has no `server:`")
    return found.group(0)


def _quoted(text: str) -> str:
    """Return text as a YAML scalar."""
    return text if re.fullmatch(r"[A-Za-z_./][\w./-]*", text) else "'" + text.replace("'", "''") + "'"
