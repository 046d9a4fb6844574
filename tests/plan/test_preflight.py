import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.places import ROOT
from harness.plan import preflight
from harness.plan.plan import Plan
from harness.plan.preflight import Sglang, check_plan
from harness.plan.tokenizer import ask_tokenizer
from tests.support import make, write_interpreter

CUDA = "smollm2-cuda"


def planned(folder: Path, script: str) -> Plan:
    """Plan a run whose server's interpreter is a shell script."""
    write_interpreter(folder / "bin", script)
    return make(folder)


def refused(plan: Plan) -> str:
    with pytest.raises(HarnessError) as caught:
        check_plan(plan)
    return str(caught.value).removeprefix(f"{plan.server_python} ")


def test_all_is_well(tmp_path: Path) -> None:
    answer = {"sglang": "0.5.23", "problems": [], "settings": ["tp_size", "port"], "spelled": {}}
    every = {"torch": "2"}
    script = f"echo '{json.dumps({**answer, 'packages': 'torch 2', 'every_package': every, 'plugin': 'f00'})}'"
    settings = frozenset({"tp_size", "port"})
    assert check_plan(planned(tmp_path, script)) == Sglang(
        version="0.5.23", settings=settings, packages="torch 2", plugin="f00", every_package=every
    )


def test_it_is_asked_with_both_arms_arguments_in_the_servers_environment(tmp_path: Path) -> None:
    script = f"""cat > {tmp_path}/request; env > {tmp_path}/env; echo "$@" > {tmp_path}/arguments
echo '{{"sglang": "1", "problems": [], "settings": [], "spelled": {{}}, "packages": "", \
"every_package": {{}}, "plugin": ""}}'"""
    plan = planned(tmp_path, script)
    check_plan(plan)
    request = json.loads((tmp_path / "request").read_text())
    assert request["codecs"] == ["int8_token"]
    assert request["candidates"] == []
    assert request["arms"].keys() == {"baseline", "compressed"}
    for arm in plan.arms:
        asked = request["arms"][arm.name]
        assert asked[0] == "--model-path"
        assert asked[asked.index("--port") + 1] == "1"
        assert len(asked) == len(arm.argv) - 2
    assert request["arms"]["compressed"] == [*request["arms"]["baseline"], "--enable-quant-communications"]
    environment = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines() if "=" in line)
    assert environment["PYTHONPATH"] == plan.arms[0].env["PYTHONPATH"]
    assert (tmp_path / "arguments").read_text() == "-m harness.sglang_plugin.probe\n"


def test_all_problems_at_once(tmp_path: Path) -> None:
    problems = ["one is wrong", "two is wrong", "three is wrong"]
    answer = {
        "sglang": "1",
        "problems": problems,
        "settings": [],
        "spelled": {},
        "packages": "",
        "every_package": {},
        "plugin": "",
    }
    script = f"echo '{json.dumps(answer)}'"
    assert refused(planned(tmp_path, script)).splitlines() == problems


@pytest.mark.parametrize(
    "output",
    [
        "",
        "warning: something",
        '{"sglang": ',
        "null",
        "[]",
        "3",
        "{}",
        '{"sglang": "1", "problems": []}',
        '{"problems": []}',
        '{"sglang": "1"}',
    ],
)
def test_garbage_in_place_of_an_answer(tmp_path: Path, output: str) -> None:
    assert refused(planned(tmp_path, f"echo '{output}'")).startswith("cannot examine its SGLang: ")


def test_bytes_in_place_of_an_answer(tmp_path: Path) -> None:
    assert refused(planned(tmp_path, r"printf '\377\376\000'")).startswith("cannot examine its SGLang: ")


def test_a_failure_shows_the_end_of_what_was_said(tmp_path: Path) -> None:
    script = "i=0; while [ $i -lt 500 ]; do echo line $i >&2; i=$((i+1)); done; echo the cause >&2; exit 1"
    said = refused(planned(tmp_path, script))
    assert said.startswith("cannot examine its SGLang (exit code 1):\n")
    assert said.rstrip().endswith("the cause")
    assert "line 0\n" not in said
    assert len(said) < preflight.SHOWN_STDERR + 100


@pytest.mark.parametrize(("script", "code"), [("exit 7", 7), ("kill -9 $$", -9)])
def test_a_silent_end_is_told_by_its_code(tmp_path: Path, script: str, code: int) -> None:
    assert refused(planned(tmp_path, script)) == f"cannot examine its SGLang (exit code {code}):\n"


def test_it_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "TIMEOUT_S", 0.2)
    assert refused(planned(tmp_path, "exec sleep 60")) == "did not import SGLang within 0.2 s"


def test_a_file_that_cannot_be_run(tmp_path: Path) -> None:
    plan = planned(tmp_path, "")
    Path(plan.server_python).chmod(0o644)
    if os.access(plan.server_python, os.X_OK):
        pytest.skip("this user may run any file")
    assert "Permission denied" in refused(plan)


def test_an_interpreter_that_vanished(tmp_path: Path) -> None:
    plan = planned(tmp_path, "")
    Path(plan.server_python).unlink()
    assert refused(plan).startswith("cannot examine its SGLang: ")


def probed(folder: Path, *paths: Path) -> Plan:
    """Plan a run in which this interpreter, with `paths`, runs the probe itself."""
    plan = planned(folder, f'exec "{sys.executable}" "$@"')
    for arm in plan.arms:
        arm.env["PYTHONPATH"] = os.pathsep.join(map(str, (ROOT, *paths)))
    return plan


def test_an_interpreter_without_sglang_says_so(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=f"^SGLang is not installed for {sys.executable}$"):
        check_plan(probed(tmp_path))


def test_every_problem_of_an_installed_sglang_at_once(tmp_path: Path) -> None:
    """A stand-in for an SGLang without plugins, whose parser knows some of the arguments."""
    site = tmp_path / "site"
    (site / "sglang-9.9.dist-info").mkdir(parents=True)
    (site / "sglang-9.9.dist-info" / "METADATA").write_text("Name: sglang\nVersion: 9.9\n")
    (site / "sglang" / "srt").mkdir(parents=True)
    (site / "sglang" / "srt" / "server_args.py").write_text(
        "class ServerArgs:\n    @staticmethod\n    def add_cli_args(parser):\n"
        "        parser.add_argument('--known')\n        print('noise on standard output')\n"
    )
    plan = probed(tmp_path, site)
    plan.arms[0].argv[2:] = ["--known", "1"]
    plan.arms[1].argv[2:] = ["--known", "1", "--enable-quant-communications"]
    plan.arms[0].env["HARNESS_PLUGIN_CODEC"] = "no such codec"
    with pytest.raises(HarnessError) as caught:
        check_plan(plan)
    mechanism, plugin, codec, arguments = str(caught.value).splitlines()
    assert mechanism.startswith("SGLang 9.9 has no plugin mechanism")
    assert plugin.startswith("the plugin tp_compression_harness is not visible to ")
    assert codec.startswith("the codec 'no such codec' cannot be used: ")
    assert arguments == (
        "SGLang 9.9 refuses the compressed arm's arguments: unrecognized arguments: --enable-quant-communications"
    )


def stand_in(folder: Path, gpus: int, options: str = "") -> Path:
    """Write a stand-in for an SGLang that takes all that the CUDA suite gives it, beside a torch that sees GPUs."""
    site = folder / "site"
    for package, version in (("sglang", "9.9"), ("tp_compression_harness", "1")):
        (site / f"{package}-{version}.dist-info").mkdir(parents=True)
        (site / f"{package}-{version}.dist-info" / "METADATA").write_text(f"Name: {package}\nVersion: {version}\n")
    entry = "[sglang.srt.plugins]\ntp_compression_harness = nowhere:nothing\n"
    (site / "tp_compression_harness-1.dist-info" / "entry_points.txt").write_text(entry)
    (site / "sglang" / "srt" / "plugins").mkdir(parents=True)
    (site / "sglang" / "srt" / "plugins" / "hook_registry.py").write_text("")
    (site / "sglang" / "srt" / "server_args.py").write_text(
        "import argparse\nclass ServerArgs:\n    @staticmethod\n    def add_cli_args(parser):\n"
        "        parser.parse_args = lambda arguments: parser.parse_known_args(arguments)[0]\n"
        f"        parser.add_argument('--device')\n{options}"
    )
    (site / "torch.py").write_text(
        f"__version__ = '2.9'\nclass cuda:\n    @staticmethod\n    def device_count():\n        return {gpus}\n"
    )
    return site


def refusal(folder: Path, site: Path, **options: Any) -> str:
    """Return what is wrong with a plan where `site` stands before all packages; the codec needs a real torch."""
    write_interpreter(folder / "bin", f'exec "{sys.executable}" "$@"')
    plan = make(folder, **options)
    for arm in plan.arms:
        arm.env["PYTHONPATH"] = os.pathsep.join(map(str, (site, ROOT)))
    try:
        check_plan(plan)
    except HarnessError as error:
        return "\n".join(entry for entry in str(error).splitlines() if not entry.startswith("the codec "))
    return ""


@pytest.mark.parametrize(
    ("gpus", "together", "enough"),
    [(1, False, False), (2, False, True), (2, True, False), (3, True, False), (4, True, True)],
)
def test_every_rank_of_every_server_that_is_up_has_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpus: int, *, together: bool, enough: bool
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    said = refusal(tmp_path, stand_in(tmp_path, gpus), suite=CUDA, together=together)
    if enough:
        assert said == ""
        return
    assert said.startswith(
        f"{sys.executable} sees too few NVIDIA GPUs: {gpus} (torch 2.9, CUDA_VISIBLE_DEVICES=0,1,2,3), "
        f"where {2 if together else 1} x 2 are needed"
    )
    assert ("leave --together out" in said) is together
    assert not (tmp_path / "reports").exists()


def test_a_torch_that_cannot_be_imported_sees_no_gpu(tmp_path: Path) -> None:
    site = stand_in(tmp_path, 2)
    (site / "torch.py").write_text("raise OSError('libcuda.so.1: no such file')")
    assert "none (OSError('libcuda.so.1: no such file')), where 1 x 2" in refusal(tmp_path, site, suite=CUDA)


def test_an_sglang_that_needs_its_gpus_to_be_imported_does_not_hide_that_they_are_missing(tmp_path: Path) -> None:
    site = stand_in(tmp_path, 0)
    (site / "sglang" / "srt" / "plugins" / "hook_registry.py").write_text("raise RuntimeError('no operator')")
    gpus, sglang = refusal(tmp_path, site, suite=CUDA).splitlines()
    assert "sees too few NVIDIA GPUs: 0 (torch 2.9, " in gpus
    assert sglang == "SGLang 9.9 cannot be imported: RuntimeError('no operator')"


SETTINGS = """
        parser.add_argument('--cuda-graph-backend-prefill'{graphs})
        parser.add_argument('--disable-prefill-cuda-graph', action='store_true')
        parser.add_argument('--enforce-disable-flashinfer-allreduce-fusion'{fusion})
"""


def test_sums_that_would_pass_the_plugin_by_are_refused(tmp_path: Path) -> None:
    """A suite that forgot the arguments: here the parser drops what it was given."""
    options = SETTINGS.format(graphs=", type=lambda _: None", fusion=", action='store_false'")
    said = refusal(tmp_path, stand_in(tmp_path, 2, options), suite=CUDA).splitlines()
    assert [entry.split(": ")[0] for entry in said] == [
        "prefills would be replayed from CUDA graphs, in which nothing counts or checks a compressed sum",
        "FlashInfer may fuse attention's sum with what follows, whatever the flag says",
    ]


STORED = """
        parser.add_argument('--enable-hierarchical-cache', default=True)
        parser.add_argument('--hicache-storage-backend', default='file')
        parser.add_argument('--enable-mixed-chunk', default=True)
        parser.add_argument('--disaggregation-mode', default='decode')
"""


def test_answers_that_rest_on_other_prefills_than_the_logged_ones_are_refused(tmp_path: Path) -> None:
    said = refusal(tmp_path, stand_in(tmp_path, 2, STORED), suite=CUDA).splitlines()
    assert [entry.split(" ", 1)[0] for entry in said] == [
        "--enable-hierarchical-cache",
        "--hicache-storage-backend",
        "--enable-mixed-chunk",
        "--disaggregation-mode",
    ]


def test_the_cuda_suite_gives_those_arguments(tmp_path: Path) -> None:
    options = SETTINGS.format(graphs="", fusion=", action='store_true'")
    assert refusal(tmp_path, stand_in(tmp_path, 2, options), suite=CUDA) == ""


NPU = """
__version__ = '{version}'
{kernel}
class npu:
    @staticmethod
    def device_count():
        return {devices}
    @staticmethod
    def mem_get_info(device):
        return {free} * 2**30, 64 * 2**30
"""


def on_npus(folder: Path, *, version: str = "2.10.0", devices: int = 2, free: int = 60, kernel: bool = True) -> str:
    """Return what is wrong with an NPU suite's plan, beside a stand-in for torch_npu; not run on hardware."""
    site = stand_in(folder, 0)
    (site / "torch.py").write_text("__version__ = '2.10.0+cpu'\n")
    (site / "torch_npu").mkdir()
    whole = NPU.format(
        version=version, devices=devices, free=free, kernel="npu_dynamic_quant = print" if kernel else ""
    )
    (site / "torch_npu" / "__init__.py").write_text(whole)
    return refusal(folder, site, suite="qwen3-8b-npu")


def test_an_npu_host_that_has_everything_is_taken(tmp_path: Path) -> None:
    assert on_npus(tmp_path) == ""


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"devices": 1}, "sees 1 NPUs (ASCEND_RT_VISIBLE_DEVICES=7), where 1 x 2 are needed"),
        ({"free": 20}, "NPU 1 has 20.0 of 64.0 GiB free, and --mem-fraction-static=0.8 takes 51.2"),
        ({"version": "2.8.0.post2"}, "torch_npu 2.8.0.post2 is made for torch 2.8, and 2.10.0+cpu is there"),
        ({"kernel": False}, "torch_npu 2.10.0 has no npu_dynamic_quant"),
        (
            {"version": "'; raise OSError('libhccl.so: no such file') #"},
            "cannot import torch_npu (OSError('libhccl.so",
        ),
    ],
)
def test_what_an_npu_host_lacks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], says: str
) -> None:
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", "7")
    monkeypatch.delenv("ASCEND_HOME_PATH", raising=False)
    found = on_npus(tmp_path, **changed)
    assert says in found
    assert ("source CANN's set_env.sh" in found) is ("libhccl" in says)


def test_an_interpreter_that_says_something_else_of_the_tokenizer_is_told(tmp_path: Path) -> None:
    plan = planned(tmp_path, """echo '{"sglang": "0.5.23"}'""")
    with pytest.raises(HarnessError, match=r"cannot load the model's tokenizer: its answer is none: KeyError"):
        ask_tokenizer(plan, texts=[("text", True)], chats=[])
