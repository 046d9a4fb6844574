"""What is found out of one release without a server: whether it takes suites and plugin, and its gate."""

import os
import subprocess
import tempfile
from pathlib import Path
from xml.etree import ElementTree as ET

from harness.config.load import load
from harness.places import CPU_SHIMS, ROOT, SUITES
from harness.plan.arms import PLUGIN, server_arm
from harness.plan.plan import PORT
from harness.plan.preflight import ask_interpreter
from harness.sglang_plugin.settings import Settings
from harness.strict import Strict

# The gate's four conditions, and the plugin's hooks in SGLang's own mechanism.
TESTS = ("tests/server_side/test_gate.py", "tests/server_side/test_plugin.py")
OF_THEM = "gate or every_hook or starts_off_npu or on_one_gpu"
TIMEOUT_S = 600


class Asked(Strict):
    """What a release said of itself.

    Attributes:
        version: Its version.
        suites: How many suites it was asked about.
        spelled: Their arguments that it has under another name, with that name.
        problems: What it refuses, and what is wrong with the plugin.
        passed: Tests of gate and hooks that passed.
        skipped: Those of what this release does not have.
        failed: The names of those that failed.
    """

    version: str
    suites: int
    spelled: dict[str, str]
    problems: list[str]
    passed: int
    skipped: int
    failed: list[str]


def ask(python: Path, plugin: Path) -> Asked:
    """Ask a release whether it takes every suite's servers, and run the tests of gate and hooks in it.

    Args:
        python: The interpreter that has it.
        plugin: The folder that carries the plugin.

    Raises:
        HarnessError: It gave no answer.
    """
    names = sorted(file.stem for file in SUITES.glob("*.yaml"))
    arms = {}
    for name in names:
        suite, _thresholds = load(name)
        settings = Settings(dir=Path())
        flag = ("--enable-quant-communications",)
        arms[name] = server_arm(
            name, suite, plugin=settings, plugin_path=plugin, model_path="model", python=python, more=flag
        )
    request = {
        "arms": {name: ["1" if word == PORT else word for word in arm.argv[2:]] for name, arm in arms.items()},
        "codecs": ["int8_token"],
        "candidates": [],
    }
    environment = {**arms["smollm2-cpu"].environment(), "SGLANG_PLUGINS": PLUGIN}
    said = ask_interpreter(str(python), "harness.sglang_plugin.probe", request, environment, "examine its SGLang")
    passed, skipped, failed = _tested(python)
    return Asked(
        version=said["sglang"],
        suites=len(names),
        spelled=said["spelled"],
        problems=said["problems"],
        passed=passed,
        skipped=skipped,
        failed=failed,
    )


def _tested(python: Path) -> tuple[int, int, list[str]]:
    """Run the tests in a release's interpreter; return how many passed and were skipped, and which failed."""
    path = os.pathsep.join(map(str, (CPU_SHIMS, ROOT)))
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.xml"
        options = ("-q", "-p", "no:cacheprovider", "--confcutdir=tests/server_side", f"--junitxml={results}")
        subprocess.run(
            [str(python), "-m", "pytest", *options, *TESTS, "-k", OF_THEM],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path, "SGLANG_USE_CPU_ENGINE": "1"},
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        if not results.exists():
            return 0, 0, ["the tests did not run"]
        cases = list(ET.parse(results).iter("testcase"))  # noqa: S314 - our own pytest's
    failed = [
        str(case.get("name")) for case in cases if case.find("failure") is not None or case.find("error") is not None
    ]
    skipped = sum(case.find("skipped") is not None for case in cases)
    return len(cases) - skipped - len(failed), skipped, failed
