import os
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.config.load import load, suite_names
from harness.config.suite import Compression
from harness.errors import HarnessError
from harness.places import ROOT
from harness.plan.make import check_interpreter, make_plan, plan_on_paper, repeat_command
from harness.plan.plan import KEY_FILE, PORT, Arm, Plan
from tests.support import MANIFEST, make, make_options, safetensors, write_interpreter

SUITES = suite_names()


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONPATH", "SGLANG_PLUGINS"):
        monkeypatch.delenv(name, raising=False)


def without(arm: Arm, plan: Plan) -> tuple[list[str], dict[str, str]]:
    """Return an arm's command and environment with the folder that its plugin writes to taken out."""
    own = {"HARNESS_PLUGIN_DIR": arm.env["HARNESS_PLUGIN_DIR"].replace(str(Path(plan.folder) / arm.name), "<own>")}
    return arm.argv, {**arm.env, **own}


@pytest.mark.parametrize("suite", SUITES)
def test_arms_differ_in_the_flag_and_their_own_folders_only(suite: str, tmp_path: Path) -> None:
    plan = make(tmp_path, suite=suite)
    baseline, compressed = plan.arm("baseline"), plan.arm("compressed")
    assert [arm.name for arm in plan.arms] == ["baseline", "compressed"]
    assert (baseline.compressed, compressed.compressed) == (False, True)
    argv, env = without(baseline, plan)
    assert without(compressed, plan) == ([*argv, "--enable-quant-communications"], env)
    assert baseline.engagement != compressed.engagement
    assert env["HARNESS_PLUGIN_DIR"] == "<own>/engagement"
    # All are told the same of it: the one whose folder it is keeps its predictions, the other compares.
    assert env["HARNESS_PLUGIN_REFERENCE"] == baseline.engagement
    assert (baseline.settings.predictions, compressed.settings.predictions) == ("reference", "compare")


def test_the_baseline_again_is_the_baselines_double(tmp_path: Path) -> None:
    plan = make(tmp_path, noise_floor=True)
    assert [arm.name for arm in plan.arms] == ["baseline", "compressed", "baseline-again"]
    assert without(plan.arm("baseline-again"), plan) == without(plan.arm("baseline"), plan)
    assert plan.arm("baseline-again").compressed is False


@pytest.mark.parametrize("suite", SUITES)
def test_the_suites_arguments_and_environment_are_all_there(suite: str, tmp_path: Path) -> None:
    content, _ = load(suite)
    plan = make(tmp_path, suite=suite)
    for arm in plan.arms:
        rest = " ".join(arm.argv)
        assert " ".join(content.server.args) in rest
        assert f"--tp-size {content.server.tp} --host 127.0.0.1" in rest
        assert f"--device {content.device}" in rest
        assert f"--model-path {plan.model_path}" in rest
        assert content.server.env.items() <= arm.env.items()
        native = content.device == "npu"
        assert arm.settings.codec == ("upstream_bf16" if native else content.compression.codec)
        assert arm.settings.algorithm == content.compression.algorithm


def test_the_interpreters_own_command_and_path_come_first(tmp_path: Path) -> None:
    arm = make(tmp_path).arms[0]
    assert arm.argv[:2] == [str(tmp_path / "bin" / "sglang"), "serve"]
    assert arm.env["PATH"] == f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.parametrize(("suite", "shims"), [("smollm2-cpu", True), ("qwen3-8b-npu", False)])
def test_shims_are_for_the_cpu_alone(
    suite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, shims: bool
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/theirs")
    parts = make(tmp_path, suite=suite).arms[0].env["PYTHONPATH"].split(os.pathsep)
    expected = [str(tmp_path / "plugin"), "/theirs"]
    assert parts == ([str(ROOT / "harness" / "serve" / "cpu_shims"), *expected] if shims else expected)


def test_the_users_own_list_of_plugins_must_not_keep_ours_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "SGLANG_PLUGINS" not in make(tmp_path).arms[0].env
    monkeypatch.setenv("SGLANG_PLUGINS", "theirs,another")
    for arm in make(tmp_path).arms:
        assert arm.env["SGLANG_PLUGINS"] == "theirs,another,tp_compression_harness"


def test_a_server_gets_the_outer_environment_and_ours_over_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTER", "kept")
    monkeypatch.setenv("HARNESS_PLUGIN_CODEC", "theirs")
    environment = make(tmp_path).arms[0].environment()
    assert environment["OUTER"] == "kept"
    assert environment["HARNESS_PLUGIN_CODEC"] == "int8_token"


def test_port_and_key_are_put_in_at_the_start_and_nowhere_else(tmp_path: Path) -> None:
    arm = make(tmp_path).arms[1]
    command = arm.command(port=4711, key_file=Path("/run/key.yaml"))
    assert command[command.index("--port") + 1] == "4711"
    assert command[command.index("--config") + 1] == "/run/key.yaml"
    assert [entry for entry in command if entry not in arm.argv] == ["4711", "/run/key.yaml"]
    assert PORT in arm.argv
    assert KEY_FILE in arm.argv


def test_nothing_written_holds_a_key_or_the_outer_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "s3cret")
    plan = make(tmp_path)
    written = plan.model_dump_json() + "".join(arm.shell() for arm in plan.arms)
    assert "s3cret" not in written
    assert '--port "$PORT" --config "$KEY_FILE"' in plan.arms[0].shell()


def test_the_shell_form_means_the_same_as_the_plan(tmp_path: Path) -> None:
    folder = tmp_path / "a place with 'quotes' and $signs"
    folder.mkdir()
    arm = make(folder).arms[1]
    words = shlex.split(arm.shell().replace("\\\n", " "))
    variables, command = words[: len(arm.env)], words[len(arm.env) :]
    assert dict(word.split("=", 1) for word in variables) == arm.env
    assert command == [{PORT: "$PORT", KEY_FILE: "$KEY_FILE"}.get(argument, argument) for argument in arm.argv]


def test_the_run_is_named_after_its_time_and_suite(tmp_path: Path) -> None:
    plan = make(tmp_path)
    assert plan.run_id == "20260102-030405-smollm2-cpu"
    assert plan.folder == str(tmp_path / "reports" / plan.run_id)
    assert not Path(plan.folder).exists()


@pytest.mark.parametrize(("limit", "boolq", "gsm8k"), [(None, 128, 16), (20, 20, 16), (1, 1, 1), (999, 128, 16)])
def test_the_limit_only_lowers(tmp_path: Path, limit: int | None, boolq: int, gsm8k: int) -> None:
    tasks = make(tmp_path, limit=limit).tasks
    assert [(name, task.questions) for name, task in tasks.items()] == [("boolq", boolq), ("gsm8k", gsm8k)]


def test_tasks_carry_their_thresholds(tmp_path: Path) -> None:
    plan = make(tmp_path)
    _, thresholds = load("smollm2-cpu", thresholds=tmp_path / "thresholds.yaml")
    for name, task in plan.tasks.items():
        assert task.threshold == thresholds.models[plan.model].tasks[name]
        assert Path(task.file).is_file()
    assert plan.tasks["gsm8k"].max_new_tokens == 64
    assert plan.tasks["boolq"].max_new_tokens is None


def test_a_plan_survives_its_own_file(tmp_path: Path) -> None:
    plan = make(tmp_path, port=4711)
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
    assert plan.port == 4711


def test_no_plugin_no_plan(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"nowhere does not hold the plugin: start through nox"):
        make(tmp_path, plugin_path=tmp_path / "nowhere")


def test_a_broken_model_is_refused_before_anything_starts(tmp_path: Path) -> None:
    make_options(tmp_path)
    (tmp_path / "model" / "model.safetensors").write_bytes(safetensors()[:-3])
    (tmp_path / "model" / "tokenizer.json").unlink()
    with pytest.raises(HarnessError, match=r"(?s)holds no tokenizer.*is 83 bytes long, its header says 86"):
        make(tmp_path)


def test_everything_missing_is_said_at_once_and_a_dry_run_plans_all_the_same(tmp_path: Path) -> None:
    wrong: dict[str, Any] = {
        "model_path": "/no/model",
        "server_python": tmp_path / "no-python",
        "plugin_path": tmp_path / "none",
    }
    with pytest.raises(HarnessError) as caught:
        make(tmp_path, **wrong)
    plan = make(tmp_path, dry_run=True, **wrong)
    assert "\n".join(plan.refused) == str(caught.value)
    for sentence in ("no model folder", "no Python interpreter", "does not hold the plugin"):
        assert sentence in str(caught.value)
    assert plan.arms[0].argv[0] == str(tmp_path / "sglang")


def test_another_place_of_the_model(tmp_path: Path) -> None:
    assert make(tmp_path, suite="qwen3-8b-npu", model_path=None).model_path == "Qwen/Qwen3-8B"
    assert make(tmp_path, model_path="their/copy").model_path == "their/copy"


def test_an_interpreter_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"no Python interpreter at .*bin/python3: .*--server-python"):
        check_interpreter(tmp_path / "bin" / "python3")
    with pytest.raises(HarnessError, match="there is no Python interpreter at"):
        check_interpreter(tmp_path)


def test_an_interpreter_without_sglang(tmp_path: Path) -> None:
    python = write_interpreter(tmp_path)
    (tmp_path / "sglang").unlink()
    with pytest.raises(HarnessError, match="`sglang` is not beside"):
        check_interpreter(python)


def test_a_virtual_environments_link_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_interpreter(tmp_path / "environment" / "bin")
    link = tmp_path / "environment" / "bin" / "python"
    link.unlink()
    link.symlink_to(sys.executable)
    monkeypatch.chdir(tmp_path)
    assert check_interpreter(Path("environment/bin/python")) == link


def test_the_command_that_repeats_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONPATH", "HARNESS_CACHE", "HARNESS_SERVER_PYTHON"):
        monkeypatch.delenv(name, raising=False)
    assert repeat_command(["accuracy", "--suite", "a b"]) == "nox -s accuracy -- --suite 'a b'"
    monkeypatch.setattr(sys, "argv", ["harness", "accuracy", "--limit", "4", "--model-path", "it's"])
    assert shlex.split(repeat_command()) == [
        *("nox", "-s", "accuracy", "--", "--limit", "4"),
        *("--model-path", "it's"),
    ]
    monkeypatch.setenv("PYTHONPATH", "/my kernels")
    assert shlex.split(repeat_command())[:2] == ["PYTHONPATH=/my kernels", "nox"]
    monkeypatch.delenv("PYTHONPATH")
    assert repeat_command(["accuracy"]) == "nox -s accuracy"


def test_the_command_that_repeats_a_run_names_an_interpreter_that_nox_did_not_make(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("PYTHONPATH", "HARNESS_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HARNESS_SERVER_PYTHON", str(ROOT / ".nox" / "server-cpu" / "bin" / "python"))
    assert repeat_command(["accuracy"]) == "nox -s accuracy"
    # nox takes --sglang for itself: without the interpreter the command would be another release's.
    older = str(ROOT / ".nox" / "sglang-0.5.16" / "bin" / "python")
    monkeypatch.setenv("HARNESS_SERVER_PYTHON", older)
    assert repeat_command(["accuracy"]) == f"HARNESS_SERVER_PYTHON={older} nox -s accuracy"
    monkeypatch.setenv("HARNESS_SERVER_PYTHON", "/theirs/python")
    assert repeat_command(["accuracy"]) == "HARNESS_SERVER_PYTHON=/theirs/python nox -s accuracy"
    named = ["accuracy", "--server-python", "/theirs/python"]
    assert repeat_command(named) == "nox -s accuracy -- --server-python /theirs/python"


def test_the_live_check_runs_in_the_compressed_arm_unless_it_is_switched_off(tmp_path: Path) -> None:
    on, off = make(tmp_path), make(tmp_path, live_check=False)
    assert [arm.check_every for arm in on.arms] == [0, 97]
    assert [arm.check_every for arm in off.arms] == [0, 0]
    assert {arm.env["HARNESS_PLUGIN_CHECK_EVERY"] for arm in off.arms} == {"0"}
    assert not any("HARNESS_PLUGIN_CLAIMS" in arm.env for arm in on.arms)


def test_an_implementation_under_test_and_its_claim_reach_the_plugin(tmp_path: Path) -> None:
    options = make_options(tmp_path)
    suite, thresholds = load(options.suite)
    tested = Compression(codec="some.kernel:all_reduce", claims="int8_token")
    changed = suite.model_copy(update={"compression": tested})
    plan = make_plan(changed, thresholds, options, data=tmp_path, data_manifest=MANIFEST, repeat="-")
    for arm in plan.arms:
        assert arm.env["HARNESS_PLUGIN_CODEC"] == "some.kernel:all_reduce"
        assert arm.env["HARNESS_PLUGIN_CLAIMS"] == "int8_token"


@pytest.mark.parametrize(
    ("bound", "cores", "why"),
    [
        (
            "0|1",
            64,
            "the suite binds both servers' ranks to the same cores (server.env.SGLANG_CPU_OMP_THREADS_BIND: '0|1')",
        ),
        (None, 3, "there are 3 cores for 4 ranks"),
        (None, 4, None),
    ],
)
def test_both_servers_at_once_need_cores_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str | None, cores: int, why: str | None
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    content, thresholds = load("smollm2-cpu")
    env = {name: value for name, value in content.server.env.items() if name != "SGLANG_CPU_OMP_THREADS_BIND"}
    env |= {"SGLANG_CPU_OMP_THREADS_BIND": bound} if bound else {}
    content = content.model_copy(update={"server": content.server.model_copy(update={"env": env})})
    options = make_options(tmp_path, together=True)
    if why is None:
        assert make_plan(content, thresholds, options, data=tmp_path, data_manifest={}, repeat="").together
        return
    with pytest.raises(HarnessError, match="a core for each rank of both servers") as error:
        make_plan(content, thresholds, options, data=tmp_path, data_manifest={}, repeat="")
    assert f"but {why}: leave --together out" in str(error.value)


def test_early_stop_leaves_out_questions_that_the_pooled_test_needs(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="--early-stop leaves out questions that Qwen3-8B's pooled test needs"):
        make(tmp_path, suite="qwen3-8b-npu", early_stop=True)
    plan = make(tmp_path, suite="qwen3-8b-npu")
    assert plan.pooled is not None
    assert not any(task.early_stop for task in plan.tasks.values())


def test_a_plan_on_paper_needs_nothing_of_this_machine() -> None:
    plan = plan_on_paper("qwen3-8b-npu", limit=100)
    assert {task.questions for task in plan.tasks.values()} == {100}
    with pytest.raises(HarnessError, match="there is no suite"):
        plan_on_paper("no-such-suite")
