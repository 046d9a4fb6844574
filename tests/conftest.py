"""What several test files share: a plan over any server command, tiny data, and a check for stray processes."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from harness.config.suite import KnownAnswer, Source
from harness.config.thresholds import Threshold
from harness.places import CPU_SHIMS, TASKS
from harness.plan.plan import KEY_FILE, PORT, Arm, FidelityPlan, Plan, TaskPlan
from harness.plan.preflight import Sglang
from harness.prepare.data import prepare
from harness.run import setup
from harness.run.display import Display

FAKE_SERVER = ("-m", "suites.faults.server")
KNOWN = KnownAnswer(prompt="The capital of France is", right=" Paris", wrong=" banana")
MakePlan = Callable[..., Plan]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave what takes many servers or runs to its own session."""
    for item in items:
        if item.get_closest_marker("campaign") and "HARNESS_CAMPAIGNS" not in os.environ:
            item.add_marker(pytest.mark.skip(reason="takes many servers or runs: `nox -s campaigns` runs it"))


@pytest.fixture
def display() -> Display:
    return Display(Console(width=160))


@pytest.fixture
def no_sglang(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake server is no SGLang: what asks an installed one is tested in test_preflight.py."""
    settings = frozenset({"enable_quant_communications", "tp_size", "api_key", "dtype"})
    found = Sglang(version="fake", settings=settings, packages="none", plugin="f00")
    monkeypatch.setattr(setup, "check_plan", lambda _plan: found)


@pytest.fixture(scope="session")
def server_python() -> Path:
    """Give SGLang's interpreter, or skip what needs a real server."""
    if "HARNESS_SERVER_PYTHON" not in os.environ:
        pytest.skip("SGLang's interpreter is not known: run these through `nox -s tests`")
    return Path(os.environ["HARNESS_SERVER_PYTHON"])


@pytest.fixture
def no_strays(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fail if a server that the test started is still there after it."""
    # Another session of tests on the same machine has servers of its own.
    ours = str(tmp_path_factory.getbasetemp())
    before = {process.pid for process in psutil.process_iter()}
    yield
    mine = [
        process
        for process in psutil.process_iter(["pid", "cmdline", "environ"])
        if process.pid not in before
        and process.info["pid"] != os.getpid()
        and (process.info["environ"] or {}).get("HARNESS_PLUGIN_DIR", "").startswith(ours)
    ]
    assert not mine, f"left behind: {[process.info['cmdline'] for process in mine]}"


@pytest.fixture
def tiny_data(tmp_path: Path) -> Path:
    """Data of a few rows, prepared as a user's own folder would be."""
    raw = tmp_path / "raw"
    for name in ("gsm8k", "boolq"):
        (raw / name).mkdir(parents=True)
    problems = [f'{{"question": "What is {n} + 0?", "answer": "It is {n}.\\n#### {n}"}}\n' for n in range(1, 15)]
    for split in ("train", "test"):
        (raw / "gsm8k" / f"{split}.jsonl").write_text("".join(problems))
    rows = [f'{{"question": "is {n} even", "passage": "{n} is a number", "label": {1 - n % 2}}}\n' for n in range(60)]
    (raw / "boolq" / "validation.jsonl").write_text("".join(rows))
    prepare(Source.FOLDER, tmp_path / "data", packages=tmp_path, folder=raw)
    return tmp_path / "data"


@pytest.fixture
def fake_plan(tmp_path: Path, tiny_data: Path) -> MakePlan:
    """Make a plan whose servers are the fake one, in the modes given for each arm."""

    def make(baseline: str = "good", compressed: str = "good", *, questions: int = 6, start_s: int = 20) -> Plan:
        folder = tmp_path / "reports" / "run"

        def arm(name: str, mode: str) -> Arm:
            engagement = folder / name / "engagement"
            argv = [sys.executable, *FAKE_SERVER, mode, "--port", PORT, "--config", KEY_FILE]
            if name == "compressed":
                argv.append("--enable-quant-communications")
            env = {"HARNESS_PLUGIN_DIR": str(engagement), "HARNESS_PLUGIN_CODEC": "none"}
            is_compressed = name == "compressed"
            return Arm(name=name, compressed=is_compressed, argv=argv, env=env, engagement=str(engagement))

        def task(name: str, metric: str, floor: float | None = None) -> TaskPlan:
            threshold = Threshold(metric=metric, source="test", report_only=floor is None, floor=floor)
            return TaskPlan(
                file=str(TASKS / f"{name}.yaml"),
                questions=questions,
                concurrency=2,
                max_new_tokens=8,
                threshold=threshold,
            )

        return Plan(
            run_id="run",
            suite="fake",
            device="cpu",
            model="none",
            model_path="none",
            tp=2,
            server_python=sys.executable,
            folder=str(folder),
            data=str(tiny_data),
            data_manifest={"source": "folder", "origin": "a test", "files": {}},
            arms=[arm("baseline", baseline), arm("compressed", compressed)],
            tasks={
                "boolq": task("boolq", "acc,none", floor=0.5),
                "gsm8k": task("gsm8k", "exact_match,last-number"),
            },
            fidelity=FidelityPlan(texts={"boolq": 9}, max_tokens=16, concurrency=2, threshold=None),
            known_answer=KNOWN,
            start_timeout_s=start_s,
            request_timeout_s=20,
            port=None,
            repeat="nox -s accuracy",
        )

    return make


@pytest.fixture
def shims() -> Callable[[], dict[str, str]]:
    """Give the environment in which the CPU server's interpreter imports torch, transformers and SGLang."""
    return lambda: {**os.environ, "PYTHONPATH": str(CPU_SHIMS)}
