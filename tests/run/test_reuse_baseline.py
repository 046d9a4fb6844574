"""A stored baseline stands for a run only where everything it depends on is equal."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.judge.engagement import prove
from harness.places import TASKS
from harness.plan.plan import Plan
from harness.plan.preflight import Sglang
from harness.records.run import Fingerprint, write_record
from harness.records.run_folder import RunFolder
from harness.run import pipeline, reuse_baseline, setup, versions
from harness.run.display import Display
from harness.run.reuse_baseline import check_baseline, differences, hashes_of_folder, make_fingerprint
from harness.run.setup import load_questionnaires
from harness.run.versions import installed
from tests.rank_logs import FACTS, write_engagement
from tests.support import run_folder

pytestmark = pytest.mark.usefixtures("no_strays")
MakePlan = Callable[..., Plan]
SETTINGS = frozenset({"enable_quant_communications", "tp_size"})
SGLANG = Sglang(version="fake", settings=SETTINGS, packages="torch 2", plugin="f00")


@pytest.fixture(autouse=True)
def _no_sglang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "check_plan", lambda _plan: SGLANG)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights").write_bytes(b"weights")
    return folder


def with_model(plan: Plan, model: Path, name: str = "run", **changed: object) -> Plan:
    """Return the plan with a model to hash, in a folder of its own."""
    folder = Path(plan.folder).parent / name
    arms = [arm.model_copy(update={"engagement": str(folder / arm.name / "engagement")}) for arm in plan.arms]
    arms = [arm.model_copy(update={"env": {**arm.env, "HARNESS_PLUGIN_DIR": arm.engagement}}) for arm in arms]
    return plan.model_copy(update={"model_path": str(model), "folder": str(folder), "arms": arms, **changed})


def fingerprint_of(plan: Plan, sglang: Sglang = SGLANG) -> Fingerprint:
    return make_fingerprint(plan, load_questionnaires(plan), sglang)


def differing(one: Fingerprint, other: Fingerprint) -> set[str]:
    return {name for name in one.facts | other.facts if one.facts.get(name) != other.facts.get(name)}


def test_the_same_plan_elsewhere_and_later_has_the_same_fingerprint(fake_plan: MakePlan, model: Path) -> None:
    assert fingerprint_of(with_model(fake_plan(), model)) == fingerprint_of(with_model(fake_plan(), model, "another"))


def test_each_thing_that_matters_changes_it(
    fake_plan: MakePlan, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = with_model(fake_plan(), model)
    before = fingerprint_of(plan)
    fewer = {**plan.tasks, "boolq": plan.tasks["boolq"].model_copy(update={"questions": 5})}
    assert differing(before, fingerprint_of(plan.model_copy(update={"tasks": fewer}))) == {"asked boolq"}
    busier = {**plan.tasks, "gsm8k": plan.tasks["gsm8k"].model_copy(update={"concurrency": 9})}
    assert differing(before, fingerprint_of(plan.model_copy(update={"tasks": busier}))) == {"asked gsm8k"}
    shorter = {**plan.tasks, "gsm8k": plan.tasks["gsm8k"].model_copy(update={"max_new_tokens": 9})}
    assert differing(before, fingerprint_of(plan.model_copy(update={"tasks": shorter}))) == {"asked gsm8k"}
    assert plan.fidelity is not None
    shorter_texts = plan.fidelity.model_copy(update={"max_tokens": 9})
    assert differing(before, fingerprint_of(plan.model_copy(update={"fidelity": shorter_texts}))) == {
        "asked fidelity"
    }
    turned = dict(reversed(plan.tasks.items()))
    assert differing(before, fingerprint_of(plan.model_copy(update={"tasks": turned}))) == {"order"}
    baseline = plan.arms[0]
    arms = [baseline.model_copy(update={"argv": [*baseline.argv, "--dtype=float16"]}), plan.arms[1]]
    assert differing(before, fingerprint_of(plan.model_copy(update={"arms": arms}))) == {"arguments"}
    assert differing(
        before, fingerprint_of(plan, Sglang(version="0.6", settings=frozenset(), packages="torch 3", plugin="f00"))
    ) == {*("sglang", "packages")}
    monkeypatch.setenv("OMP_NUM_THREADS", "77")
    assert differing(before, fingerprint_of(plan)) == {"environment OMP_NUM_THREADS"}
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert differing(before, fingerprint_of(plan, replace(SGLANG, plugin="another"))) == {"plugin"}
    tasks = model.parent / "tasks"
    shutil.copytree(TASKS, tasks)
    monkeypatch.setattr(reuse_baseline, "TASKS", tasks)
    assert differing(before, fingerprint_of(plan)) == set()
    with (tasks / "gsm8k_sglang.py").open("a") as functions:
        functions.write("# scores otherwise\n")
    assert differing(before, fingerprint_of(plan)) == {"tasks gsm8k_sglang.py"}
    with (tasks / "boolq.yaml").open("a") as settings:
        settings.write("# asks otherwise\n")
    assert differing(before, fingerprint_of(plan)) == {"tasks gsm8k_sglang.py", "tasks boolq.yaml"}
    monkeypatch.setattr(reuse_baseline, "TASKS", TASKS)
    with monkeypatch.context() as patch:
        old = {"lm-eval": "0.1"}
        patch.setattr(reuse_baseline, "installed", lambda package: old.get(package) or installed(package))
        assert differing(before, fingerprint_of(plan)) == {"harness's packages"}
    (model / "weights").write_bytes(b"Weights")
    assert differing(before, fingerprint_of(plan)) == {"weights weights"}


def test_a_run_takes_a_stored_baseline_and_starts_one_server_less(
    fake_plan: MakePlan, model: Path, display: Display
) -> None:
    first = with_model(fake_plan(), model)
    pipeline.run(first, display)
    again = with_model(fake_plan(), model, "again", reuse_baseline=first.folder)
    report = pipeline.run(again, display)
    assert not (Path(again.folder) / "baseline" / "server.log").samefile(
        Path(first.folder) / "baseline" / "server.log"
    )
    stored = Path(first.folder) / "baseline" / "samples-boolq.jsonl"
    assert (Path(again.folder) / "baseline" / "samples-boolq.jsonl").read_text() == stored.read_text()
    assert report.tasks["boolq"].n == 6
    assert f"the baseline was not measured in this run but taken from {first.folder}" in report.notes


def test_another_baseline_is_refused_with_every_difference(
    fake_plan: MakePlan, model: Path, display: Display
) -> None:
    first = with_model(fake_plan(), model)
    pipeline.run(first, display)
    (model / "weights").write_bytes(b"others")
    other = with_model(fake_plan(questions=5), model, "other", reuse_baseline=first.folder)
    said = r"(?s)cannot stand for this run's.*asked boolq.*5 questions.*weights weights:\n    then: SHA-256 "
    with pytest.raises(HarnessError, match=said):
        pipeline.run(other, display)
    assert not Path(other.folder).exists()


def test_a_file_that_changed_is_named_and_of_many_the_first_ten() -> None:
    then = Fingerprint(facts={f"weights {number:02}": "one" for number in range(12)} | {"data x.jsonl": "3 rows"})
    now = Fingerprint(facts=dict.fromkeys(then.facts, "other"))
    told = differences(then, now)
    assert told[0] == "data x.jsonl:\n    then: 3 rows\n    now:  other"
    assert (told[1].splitlines()[0], len(told), told[-1]) == ("weights 00:", 12, "weights: and 2 more")
    gone = Fingerprint(facts={})
    assert differences(then, gone)[0].endswith("now:  not there")


def test_a_baseline_that_was_not_finished_is_refused(fake_plan: MakePlan, model: Path, display: Display) -> None:
    first = with_model(fake_plan(), model)
    pipeline.run(first, display)
    file = Path(first.folder) / "baseline" / "arm.json"
    record = json.loads(file.read_text())
    record["tasks"]["boolq"]["questions"] = 4
    del record["tasks"]["gsm8k"]
    del record["tasks"]["fidelity"]
    file.write_text(json.dumps(record))
    other = with_model(fake_plan(), model, "other", reuse_baseline=first.folder)
    with pytest.raises(
        HarnessError, match=r"(?s)boolq: 4 of 6 questions were asked.*gsm8k: 0 of 6.*fidelity: was not finished"
    ):
        pipeline.run(other, display)


def test_a_model_without_a_folder_is_unknown_and_equals_nothing(fake_plan: MakePlan, tmp_path: Path) -> None:
    assert hashes_of_folder("weights", tmp_path / "nothing") == {"weights": "unknown"}
    plan = fake_plan()
    known = fingerprint_of(plan)
    assert known.facts["weights"] == "unknown"
    Path(plan.folder).mkdir(parents=True, exist_ok=True)
    write_record(run_folder(plan).fingerprint, known)
    with pytest.raises(HarnessError, match="weights:"):
        check_baseline(plan, run_folder(plan), known)


def test_a_folder_that_is_no_run_is_refused(fake_plan: MakePlan, tmp_path: Path) -> None:
    plan = fake_plan()
    with pytest.raises(HarnessError, match=r"fingerprint\.json cannot be read"):
        check_baseline(plan, RunFolder(tmp_path), fingerprint_of(plan))


def test_no_secret_and_no_value_of_the_environment_is_in_a_fingerprint(
    fake_plan: MakePlan, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_s3cret")
    monkeypatch.setenv("SGLANG_ADMIN_KEY", "s4cret")
    monkeypatch.setenv("NCCL_DEBUG_FILE", "/home/somebody/log")
    before = fingerprint_of(with_model(fake_plan(), model))
    text = before.model_dump_json()
    assert not [word for word in ("s3cret", "s4cret", "somebody", "HF_TOKEN", "ADMIN_KEY") if word in text]
    assert before.facts["environment NCCL_DEBUG_FILE"].startswith("SHA-256 ")
    # What is no secret by its name still counts.
    monkeypatch.setenv("SGLANG_MAX_TOKENS", "3")
    assert differing(before, fingerprint_of(with_model(fake_plan(), model))) == {"environment SGLANG_MAX_TOKENS"}


def test_the_hosts_devices_count_and_which_of_them_are_visible_does_not(
    fake_plan: MakePlan, model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = fingerprint_of(with_model(fake_plan(), model))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", "0,1")
    assert fingerprint_of(with_model(fake_plan(), model)) == before
    for name in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / "gpus" / name).mkdir(parents=True)
        (tmp_path / "gpus" / name / "information").write_text("Model: \t\t NVIDIA H100\nIRQ: 5\n")
    monkeypatch.setattr(versions, "NVIDIA_DEVICES", tmp_path / "gpus")
    with_devices = fingerprint_of(with_model(fake_plan(), model))
    assert differing(before, with_devices) == {"devices"}
    assert with_devices.facts["devices"].startswith("2 x NVIDIA H100; driver: ")


def test_a_baseline_that_was_measured_beside_another_codec_is_proven(fake_plan: MakePlan, tmp_path: Path) -> None:
    plan = fake_plan().model_copy(update={"device": "cpu"})
    write_engagement(tmp_path, compressed=False, codec="int4_group32")
    assert prove(plan, plan.arm("baseline"), tmp_path, sglang=str(FACTS["sglang"])).faults == []
    write_engagement(tmp_path / "compressed", compressed=True, codec="int4_group32")
    faults = prove(plan, plan.arm("compressed"), tmp_path / "compressed", sglang=str(FACTS["sglang"])).faults
    assert any("ran with codec=int4_group32, not none" in fault for fault in faults)
