"""A checkout, an SGLang and a model that a fault may do anything to, and one run of the harness in it."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from harness.places import ROOT
from suites.faults.rank_logs import SGLANG

SUITE = "faults"
# Marks every process that a run starts, however far it got from its parent.
MARK = "FAULTS_LAB"
# The answer of harness.sglang_plugin.probe, and SGLang's command: one server for every run.
PROBE = {
    "sglang": SGLANG,
    "settings": ["enable_quant_communications", "tp_size", "dtype", "api_key", "port"],
    "spelled": {},
    "packages": "torch 2.9.0; all 3: 0123456789abcdef",
    "every_package": {"torch": "2.9.0"},
    "plugin": "fedcba9876543210",
    "problems": [],
}
# As the suite below asks them, the fixed texts among them.
QUESTIONS = {"boolq": 64, "gsm8k": 8, "fidelity": 8}
BATCH = 8
SUITE_TEXT = """\
description: a server that fails on demand
device: cpu
model: {name: Fault, path: model}
server:
  tp: 2
  args: [--random-seed=0]
  start_timeout_s: 12
compression: {codec: int8_token, algorithm: one_shot, live_check: {every: 7}}
known_answer: {prompt: The capital of France is, right: " Paris", wrong: " banana"}
data: folder
tasks:
  boolq: {questions: 64, concurrency: 8}
  gsm8k: {questions: 8, concurrency: 4, max_new_tokens: 8}
fidelity: {boolq: 8, max_tokens: 24, concurrency: 4}
request_timeout_s: 5
"""
THRESHOLDS_TEXT = """\
models:
  Fault:
    boolq: {metric: "acc,none", max_drop: 0.15, min_questions: 32, source: the campaign}
    gsm8k: {metric: "exact_match,last-number", report_only: true, source: the campaign}
"""
PATIENCE_S = 150.0
STRAYS_GRACE_S = 40.0


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How one command ended.

    Attributes:
        code: Its exit code; negative for the signal that ended it, None where it had to be killed.
        said: Everything it wrote.
        seconds: How long it took.
        peak_mb: The most memory its own process held, MB.
        strays: Processes that were still there long after.
    """

    code: int | None
    said: str
    seconds: float
    peak_mb: float
    strays: tuple[str, ...]


class Lab:
    """A folder with a checkout, an SGLang, a model, data and reports of its own.

    Attributes:
        place: The folder.
        checkout: The checkout.
        reports: Where runs go.
        journal_file: What the fault servers tell.
        reference: The folder of a run that nothing happened to.
        duration: The file that says how long that took, in seconds.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self.checkout = place / "checkout"
        self.reports = place / "reports"
        self.model = place / "model"
        self.plugin = place / "plugin"
        self.raw = place / "raw"
        self.cache = place / "cache"
        self.python = place / "bin" / "python"
        self.journal_file = place / "journal.jsonl"
        self.reference = place / "reference"
        self.duration = place / "seconds"

    @classmethod
    def build(cls, place: Path) -> "Lab":
        """Make a lab, once for all kinds: they take copies."""
        lab = cls(place)
        ignore = shutil.ignore_patterns("cpu_shims.egg-info", "*.pyc.*")
        shutil.copytree(ROOT / "harness", lab.checkout / "harness", ignore=ignore)
        shutil.copytree(ROOT / "suites" / "tasks", lab.checkout / "suites" / "tasks")
        (lab.checkout / "suites" / "accuracy").mkdir()
        lab.suite.write_text(SUITE_TEXT)
        lab.thresholds.write_text(THRESHOLDS_TEXT)
        subprocess.run([sys.executable, "-m", "compileall", "-q", str(lab.checkout)], check=True)
        lab.python.parent.mkdir()
        (place / "probe.json").write_text(json.dumps(PROBE))
        lab.model.mkdir()
        (lab.model / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
        (lab.model / "tokenizer.json").write_text("{}")
        (lab.model / "model.bin").write_bytes(b"weights")
        shutil.copytree(ROOT / "harness" / "sglang_plugin", lab.plugin / "harness" / "sglang_plugin")
        _write_data(lab.raw)
        lab.reports.mkdir()
        lab._write_commands()
        ended = lab.run()
        if ended.code or lab.latest is None:
            raise RuntimeError(f"a run without any fault does not pass:\n{ended.said}")
        lab.latest.rename(lab.reference)
        lab.duration.write_text(str(ended.seconds))
        shutil.rmtree(lab.reports)
        lab.reports.mkdir()
        lab.journal_file.unlink()
        return lab

    def copy(self, place: Path) -> "Lab":
        """Return a lab of its own, like this one."""
        # With the times of the sources: bytecode is kept.
        shutil.copytree(self.place, place, symlinks=True)
        lab = Lab(place)
        lab._write_commands()
        return lab

    def _write_commands(self) -> None:
        _script(self.python, f"exec cat {self.place / 'probe.json'}")
        server = f"cd {ROOT} && PYTHONPATH= exec {sys.executable} -m suites.faults.server env"
        _script(self.python.parent / "sglang", f'{server} "$@"')

    @property
    def suite(self) -> Path:
        """The suite's file."""
        return self.checkout / "suites" / "accuracy" / f"{SUITE}.yaml"

    @property
    def thresholds(self) -> Path:
        """The file of thresholds."""
        return self.checkout / "thresholds.yaml"

    @property
    def latest(self) -> Path | None:
        """The newest run's folder, whatever `latest` says."""
        runs = [path for path in self.reports.iterdir() if path.is_dir() and not path.is_symlink()]
        return max(runs, key=lambda path: path.stat().st_ctime_ns, default=None)

    def environment(
        self, modes: Mapping[str, str] | None = None, env: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """Return the environment of a command in this lab."""
        own = {name: text for name, text in os.environ.items() if not name.startswith(("HARNESS_", "SGLANG_", "NOX"))}
        return {
            **own,
            "HARNESS_SERVER_PYTHON": str(self.python),
            "HARNESS_PLUGIN_PATH": str(self.plugin),
            "HARNESS_CACHE": str(self.cache),
            "FAULTS_MODES": json.dumps(dict(modes or {})),
            "FAULTS_JOURNAL": str(self.journal_file),
            "PYTHONPATH": "",
            MARK: str(self.place),
            **(env or {}),
        }

    def accuracy(self, *arguments: str) -> list[str]:
        """Return the command of a run."""
        own = (f"--suite={SUITE}", f"--model-path={self.model}", f"--data-folder={self.raw}")
        return [*self.harness("accuracy"), *own, f"--reports={self.reports}", *arguments]

    def harness(self, *arguments: str) -> list[str]:
        """Return a command of the harness."""
        return [sys.executable, "-m", "harness", *arguments]

    def start(
        self, command: list[str], modes: Mapping[str, str] | None = None, env: Mapping[str, str] | None = None
    ) -> "Running":
        """Start a command in this lab's checkout."""
        return Running(self, command, self.environment(modes, env))

    def run(
        self, *arguments: str, modes: Mapping[str, str] | None = None, env: Mapping[str, str] | None = None
    ) -> Ended:
        """Run a suite and wait for its end, and for that of everything it started."""
        return self.start(self.accuracy(*arguments), modes, env).wait()

    def rebuild(self, folder: Path) -> Ended:
        """Build a run's report again."""
        return self.start(self.harness("report", str(folder))).wait()

    def journal(self) -> list[dict[str, Any]]:
        """Return what the fault servers told so far."""
        try:
            return [json.loads(line) for line in self.journal_file.read_text().splitlines()]
        except OSError:
            return []

    def processes(self) -> list[psutil.Process]:
        """Return every process that was started in this lab."""
        return list(_marked(str(self.place)))


class Running:
    """A command that runs."""

    def __init__(self, lab: Lab, command: list[str], environment: dict[str, str]) -> None:
        self._lab = lab
        self._started = time.monotonic()
        # A pipe: a limit on the size of files must not keep it from speaking.
        self.process = subprocess.Popen(
            command,
            cwd=lab.checkout,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # As from a shell: a group of its own, which a signal to the campaign does not reach.
            start_new_session=True,
        )
        self._said: list[bytes] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as words:
            self._said.extend(iter(lambda: words.read(65536), b""))

    def wait(self, patience_s: float = PATIENCE_S) -> Ended:
        """Wait for its end and that of everything it started; what is left is killed and named."""
        peak_kb, code = 0, None
        while True:
            if self.process.returncode is not None:
                # A signal that was sent too late found it ended.
                code = self.process.returncode
                break
            process, status, usage = os.wait4(self.process.pid, os.WNOHANG)
            if process:
                code, peak_kb = os.waitstatus_to_exitcode(status), usage.ru_maxrss
                self.process.returncode = code
                break
            if time.monotonic() - self._started > patience_s:
                self.process.kill()
                self.process.wait()
                break
            time.sleep(0.02)
        seconds = time.monotonic() - self._started
        strays = tuple(self._strays())
        self._reader.join(PATIENCE_S)
        return Ended(
            code=code,
            said=b"".join(self._said).decode(errors="replace"),
            seconds=seconds,
            peak_mb=peak_kb / 1024,
            strays=strays,
        )

    def _strays(self) -> Iterator[str]:
        deadline = time.monotonic() + STRAYS_GRACE_S
        while (left := self._lab.processes()) and time.monotonic() < deadline:
            time.sleep(0.1)
        for process in left:
            try:
                yield " ".join(process.cmdline())
                process.kill()
            except psutil.NoSuchProcess:
                continue


def _marked(place: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == place and process.status() != psutil.STATUS_ZOMBIE:
                yield process
        except psutil.Error:
            continue


def _script(file: Path, line: str) -> None:
    file.write_text(f"#!/bin/sh\n{line}\n")
    file.chmod(0o755)


def _write_data(raw: Path) -> None:
    problems: list[dict[str, object]] = [
        {"question": f"What is {number} + 0?", "answer": f"It is {number}.\n#### {number}"} for number in range(20)
    ]
    passages = [
        {
            "question": f"is {number} even",
            "passage": f"{number} is a number of the campaign",
            "label": 1 - number % 2,
        }
        for number in range(80)
    ]
    files = {"gsm8k/train": problems, "gsm8k/test": problems, "boolq/validation": passages}
    for name, rows in files.items():
        file = raw / f"{name}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
