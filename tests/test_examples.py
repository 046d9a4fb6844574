"""The suites of suites/examples: they load as they are shipped, and run on real servers."""

import os
from pathlib import Path

import pytest

from harness.ask.lm_eval_task import LmEvalTask, check_tasks
from harness.config.load import load
from harness.config.suite import Source
from harness.places import ROOT
from harness.plan.make import make_plan
from harness.plan.options import Options
from harness.plan.plan import Plan
from harness.prepare.data import prepare
from harness.prepare.needed import needed_files
from harness.records.samples import read_samples
from harness.run import pipeline
from harness.run.display import Display
from tests.support import run_folder, write_interpreter, write_model

EXAMPLES = ROOT / "suites" / "examples"
SUITE = EXAMPLES / "multiple-choice.yaml"


def planned(folder: Path, python: Path, plugin: Path, model: str | None = None) -> Plan:
    """Plan the example from its own data."""
    suite, thresholds = load(str(SUITE))
    files = needed_files(suite, Source.FOLDER)
    manifest = prepare(Source.FOLDER, folder / "data", folder=EXAMPLES / "data", files=files)
    options = Options(
        suite=str(SUITE), server_python=python, plugin_path=plugin, model_path=model, reports=folder / "reports"
    )
    return make_plan(suite, thresholds, options, data=folder / "data", data_manifest=manifest, repeat="-")


def test_each_task_is_asked_as_its_benchmark_has_it(tmp_path: Path) -> None:
    (tmp_path / "harness" / "sglang_plugin").mkdir(parents=True)
    model = str(write_model(tmp_path / "model"))
    plan = planned(tmp_path, write_interpreter(tmp_path / "bin"), tmp_path, model)
    tasks = {name: LmEvalTask(name, task, Path(plan.data)) for name, task in plan.tasks.items()}
    check_tasks(list(tasks.values()))
    solved = {name: sorted(task.solved()) for name, task in tasks.items()}
    assert "Question: Which tool measures temperature?\nAnswer: a thermometer" in solved["arc_easy"]
    assert (
        "Washing a car: A woman sprays a car with water from a hose. She wipes the soap off with a sponge."
        in solved["hellaswag"]
    )
    assert any("\nA. 十二\nB. 十\nC. 七\nD. 五\n" in text for text in solved["ceval"])
    assert all(len(texts) == 4 for texts in solved.values())


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.usefixtures("no_strays")
def test_the_example_runs_on_both_arms(tmp_path: Path, server_python: Path, display: Display) -> None:
    plan = planned(tmp_path, server_python, Path(os.environ["HARNESS_PLUGIN_PATH"]))
    report = pipeline.run(plan, display)
    # Four questions that judge nothing: proven, compared, and not decided.
    assert (report.verdict, report.exit_code) == ("INCONCLUSIVE", 2), report.reasons
    for name in ("arc_easy", "hellaswag", "ceval"):
        for arm in ("baseline", "compressed"):
            samples = read_samples(run_folder(plan).arm(arm).samples(name))
            assert [sample.error for sample in samples] == [None] * len(samples)
            assert {sample.doc_id for sample in samples} == {0, 1, 2, 3}
    assert report.fidelity is not None
    assert report.fidelity.compressed.texts == 12
