"""The plugin's hooks against the installed SGLang: registered by its own mechanism, in processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.judge.engagement import read_engagement
from harness.judge.live_check import CheckedSums, read_live_check
from harness.sglang_plugin.policy import Choice, uniform

REGISTER = """
import sys
from harness.sglang_plugin import register
from sglang.srt.plugins.hook_registry import HookRegistry
register()
HookRegistry.apply_hooks()
"""

ONE_CALL = """
import os, torch, torch.distributed as dist
import torch.multiprocessing as mp
from types import SimpleNamespace as NS

def rank_main(rank, store):
    # Before anything NPU is pretended: SGLang's layers would look for its kernels too.
    import sglang.srt.model_executor.model_runner
    communicator = lambda group: None
    {prelude}
    {register}
    from sglang.srt.distributed import parallel_state, communication_op
    dist.init_process_group("gloo", init_method=f"file://{{store}}", rank=rank, world_size=2)
    group = object.__new__(parallel_state.GroupCoordinator)
    group.world_size, group.device_group, group.unique_name = 2, dist.group.WORLD, "tp"
    group.local_size = 2
    group.npu_communicator = communicator(group)
    communication_op.get_tp_group = communication_op.get_attn_tp_group = lambda: group
    from sglang.srt.model_executor.model_runner import ModelRunner
    from sglang.srt.model_executor.forward_batch_info import ForwardMode
    runner = object.__new__(ModelRunner)
    runner.is_draft_worker = False
    runner.server_args = NS(tp_size=2, device="cpu", enable_quant_communications=True)
    runner.model_config = NS(num_hidden_layers=1, hidden_size=4)
    x = torch.arange(12, dtype=torch.float32).reshape(3, 4) * (rank + 1)
    def body(self, forward_batch, *a, **k):
        self.out = communication_op.attention_tensor_model_parallel_quant_all_reduce(x.clone())
        communication_op.tensor_model_parallel_quant_all_reduce(x.clone())
    from harness.sglang_plugin import hooks
    # What SGLang wrapped, called with a body that does what a layer does: one sum for each site.
    from sglang.srt.plugins.hook_registry import HookRegistry
    hook = [h for _t, h, _s in HookRegistry._hooks[hooks.FORWARD]][0]
    batch = NS(input_ids=torch.zeros(3), forward_mode=ForwardMode.EXTEND, positions=torch.tensor([0, 1, 0]))
    {policies}
    hook(body, runner, batch)
    want = torch.arange(12, dtype=torch.float32).reshape(3, 4) * 3
    assert torch.allclose(runner.out, want, atol=0.3), runner.out
    dist.barrier()
    # Not through the interpreter's end: a thread of gloo's that outlives it aborts the process now and then.
    os._exit(0)

if __name__ == "__main__":
    mp.spawn(rank_main, args=(f"{{__file__}}.{{os.getpid()}}",), nprocs=2)
"""

# torch_npu as documented: int8 values and one fp32 scale a row.
FAKE_NPU = """
    import sys, types
    from importlib.machinery import ModuleSpec
    npu = types.ModuleType("torch_npu")
    npu.__spec__ = ModuleSpec("torch_npu", None)
    def npu_dynamic_quant(x, *, dst_type):
        scale = x.abs().amax(-1).float().clamp_min(1e-12) / 127
        return torch.round(x.float() / scale.unsqueeze(-1)).to(torch.int8), scale
    {define}
    sys.modules["torch_npu"] = npu
    from harness.sglang_plugin import hooks
    hooks.is_npu = lambda: True
    # Upstream's fall-back, where the kernel cannot be imported, is a plain all-reduce.
    from sglang.srt.distributed import parallel_state as ps
    ps.inplace_all_reduce = lambda x, group_name: dist.all_reduce(x)
    # Up to 0.5.22 the group has a communicator, which has the kernel by name.
    try:
        from sglang.srt.distributed.device_communicators import npu_communicator as holder
        holder.npu_dynamic_quant = npu.npu_dynamic_quant
    except (ImportError, AttributeError):
        holder = None
    def communicator(group):
        return holder and NS(
            disabled=False,
            quant_all_reduce=lambda x: holder.NpuCommunicator.quant_all_reduce(
                NS(world_size=2, group=group.device_group), x
            ),
        )
"""

# 3 rows of 4 values to one peer: a byte a value and a four-byte scale a row.
INT8 = {
    "calls": 1,
    "quantized": 1,
    "elements": 12,
    "wire_bytes": 24,
    "plain": 0,
    "plain_bytes": 0,
    "layers": {"int8_token one_shot": [0]},
}
# 3 rows of 4 fp32 values: two ranks of a ring send each value once.
LEFT_PLAIN = {"calls": 0, "quantized": 0, "elements": 0, "wire_bytes": 0, "plain": 1, "plain_bytes": 48}


def python(script: str, tmp_path: Path, **env: str) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "script.py"
    file.write_text(script)
    variables = {name: value for name, value in os.environ.items() if not name.startswith("HARNESS_PLUGIN")}
    return subprocess.run(
        [sys.executable, str(file)],
        env={**variables, **env},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def lines(folder: Path, rank: int) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / f"rank-{rank}.jsonl").read_text().splitlines()]


def untimed(line: dict[str, object]) -> dict[str, object]:
    """Return a forward pass's line less its time, which every pass has and no two share."""
    assert isinstance(line["seconds"], float)
    return {name: value for name, value in line.items() if name != "seconds"}


def samples(folder: Path, rank: int) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"live-rank-{rank}.jsonl").read_text().splitlines()[1:]]


def live_check(folder: Path) -> CheckedSums:
    policy = uniform(Choice(codec="int8_token"))
    engagement = read_engagement(folder, tp=2, compressed=True, policy=policy, expected={})
    found = read_live_check(folder, engagement, tp=2, every=1, policy=policy)
    assert found is not None
    return found


def test_without_its_variable_the_plugin_registers_nothing(tmp_path: Path) -> None:
    done = python(REGISTER + "assert not HookRegistry._hooks, HookRegistry._hooks", tmp_path)
    assert done.returncode == 0, done.stderr


def test_every_hook_is_applied_to_this_sglang(tmp_path: Path) -> None:
    check = (
        REGISTER
        + "assert HookRegistry._patched == set(HookRegistry._hooks), (HookRegistry._patched, HookRegistry._hooks)"
    )
    done = python(check, tmp_path, HARNESS_PLUGIN_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr


def test_off_npu_the_bundled_collective_runs_and_each_site_is_counted(tmp_path: Path) -> None:
    script = ONE_CALL.format(prelude="pass", policies="pass", register=REGISTER.replace("\n", "\n    "))
    done = python(script, tmp_path, HARNESS_PLUGIN_DIR=str(tmp_path / "log"), HARNESS_PLUGIN_CHECK_EVERY="1")
    assert done.returncode == 0, done.stderr
    facts, forward = lines(tmp_path / "log", 0)
    assert facts["implementation"] == "harness.collective"
    check = live_check(tmp_path / "log")
    assert (check.codec, check.checked, check.wrong, check.faults) == ("int8_token", 2, [], [])
    # Positions 0, 1, 0: two sequences.
    assert {row.tokens for row in check.sites} == {"token0", "rest"}
    assert untimed(lines(tmp_path / "log", 1)[1]) == untimed(forward)
    told = {"policy": 0, "mode": "EXTEND", "tokens": 3, "sites": {"attention": INT8, "ffn": INT8}}
    assert untimed(forward) == told


def test_an_implementation_under_test_runs_in_place_of_the_bundled_one(tmp_path: Path) -> None:
    script = ONE_CALL.format(prelude="pass", policies="pass", register=REGISTER.replace("\n", "\n    "))
    done = python(
        script,
        tmp_path,
        HARNESS_PLUGIN_DIR=str(tmp_path / "log"),
        HARNESS_PLUGIN_CODEC="tests.broken_codecs.plain:all_reduce",
        HARNESS_PLUGIN_CLAIMS="int8_group64",
        HARNESS_PLUGIN_CHECK_EVERY="1",
    )
    assert done.returncode == 0, done.stderr
    facts, _forward = lines(tmp_path / "log", 0)
    assert facts["implementation"] == "tests.broken_codecs.plain:all_reduce"
    assert facts["codec"] == "int8_group64"
    fault = live_check(tmp_path / "log").wrong[0]
    assert "where int8_group64 (one_shot) makes " in fault
    assert "too good" in fault


# The harness puts another policy into force while the server is idle.
SWITCH = """
    from pathlib import Path
    from harness.sglang_plugin.study_folder import write_policy
    from harness.sglang_plugin.policy import parse
    hook(body, runner, batch)
    dist.barrier()
    if rank == 0:
        rules = [{"codec": "int8_group64"}, {"codec": "plain", "site": "ffn", "layers": [0]}]
        write_policy(Path(os.environ["HARNESS_PLUGIN_STUDY"]), parse({"number": 3, "rules": rules}))
    dist.barrier()
    hook(body, runner, NS(**vars(batch) | {"forward_mode": ForwardMode.DECODE}))
"""


def test_a_policy_put_into_force_between_two_prefills_holds_for_the_second(tmp_path: Path) -> None:
    script = ONE_CALL.format(prelude="pass", policies=SWITCH.strip(), register=REGISTER.replace("\n", "\n    "))
    folders = {"HARNESS_PLUGIN_DIR": str(tmp_path / "log"), "HARNESS_PLUGIN_STUDY": str(tmp_path / "study")}
    done = python(script, tmp_path, **folders, HARNESS_PLUGIN_CHECK_EVERY="1000003")
    assert done.returncode == 0, done.stderr
    for rank in range(2):
        _facts, first, decode, second = lines(tmp_path / "log", rank)
        assert (first["policy"], first["sites"]) == (0, {"attention": INT8, "ffn": INT8})
        # Read again at the start of a prefill alone; the stand-in for a model compresses in decode too.
        assert (decode["policy"], decode["mode"]) == (0, "DECODE")
        group64 = {**INT8, "layers": {"int8_group64 one_shot": [0]}}
        left = {**LEFT_PLAIN, "layers": {"plain": [0]}}
        told = {"policy": 3, "mode": "EXTEND", "tokens": 3, "sites": {"attention": group64, "ffn": left}}
        assert untimed(second) == told
        checked = [sample for line in samples(tmp_path / "log", rank) for sample in line["samples"]]
        assert [(entry["codec"], entry["site"]) for entry in checked] == [
            ("int8_token", "attention"),
            ("int8_token", "ffn"),
            ("int8_group64", "attention"),
        ]


@pytest.mark.parametrize(
    ("define", "quantized"), [("npu.npu_dynamic_quant = npu_dynamic_quant", True), ("pass", False)]
)
def test_on_an_npu_sglangs_own_code_runs_and_its_silent_fall_back_is_seen(
    tmp_path: Path, define: str, *, quantized: bool
) -> None:
    """Exercised with a stand-in for torch_npu; not run on hardware."""
    script = ONE_CALL.format(
        prelude=FAKE_NPU.format(define=define).strip(), policies="pass", register=REGISTER.replace("\n", "\n    ")
    )
    done = python(script, tmp_path, HARNESS_PLUGIN_DIR=str(tmp_path / "log"), HARNESS_PLUGIN_CHECK_EVERY="1")
    assert done.returncode == 0, done.stderr
    facts, forward = lines(tmp_path / "log", 0)
    assert facts["implementation"] == "sglang"
    # What SGLang's own function served is held to the bound of its own arithmetic.
    check = live_check(tmp_path / "log")
    assert (check.codec, check.checked) == ("upstream_bf16", 2)
    assert any("too good, so that something else ran" in fault for fault in check.wrong) is not quantized
    assert (bool(check.wrong), check.faults) == (not quantized, [])
    native = {"layers": {"upstream_bf16 one_shot": [0]}, "quantized": int(quantized), "wire_bytes": 24 * quantized}
    site = {**INT8, **native}
    told = {"policy": 0, "mode": "EXTEND", "tokens": 3, "sites": {"attention": site, "ffn": site}}
    assert untimed(forward) == told


def test_the_flag_starts_off_npu_and_other_checks_still_run(tmp_path: Path) -> None:
    check = """
from harness.sglang_plugin.hooks import allow_off_npu
from sglang.srt.server_args import ServerArgs
import msgspec
seen = []
class Args(msgspec.Struct):
    enable_quant_communications: bool
    tp_size: int
    def __setattr__(self, name, value):
        raise AttributeError("sealed")
args = Args(True, 2)
allow_off_npu(lambda a: seen.append(a.enable_quant_communications), args)
assert seen == [False] and args.enable_quant_communications is True
try:
    allow_off_npu(lambda a: 1 / 0, args)
except ZeroDivisionError:
    assert args.enable_quant_communications is True
else:
    raise SystemExit("the check did not run")
try:
    allow_off_npu(lambda a: None, Args(True, 1))
except ValueError as error:
    assert "tp_size != 1" in str(error)
else:
    raise SystemExit("tp 1 was let through")
"""
    done = python(check, tmp_path)
    assert done.returncode == 0, done.stderr


def test_two_ranks_on_one_gpu_have_a_check_a_backend_and_groups_that_let_them(tmp_path: Path) -> None:
    """The hooks alone, on a CPU; a server of them ran on a GPU: docs/cuda.md."""
    check = (
        REGISTER
        + """
from sglang.srt.distributed import parallel_state
import sglang.srt.server_args
assert parallel_state.get_default_distributed_backend("cuda") == "gloo"
from harness.sglang_plugin.hooks import allow_off_npu
from harness.sglang_plugin.one_gpu import GROUP, without_pynccl
assert HookRegistry._patched == set(HookRegistry._hooks) and GROUP in HookRegistry._patched
class Args:
    enable_quant_communications, tp_size, gpu_id_step = True, 2, 0
args, seen = Args(), []
allow_off_npu(lambda a: seen.append((a.gpu_id_step, a.enable_quant_communications)), args, one_gpu=True)
assert seen == [(1, False)] and (args.gpu_id_step, args.enable_quant_communications) == (0, True)
def init(self, ranks, use_pynccl, other=1):
    seen.append((ranks, use_pynccl, other))
without_pynccl(init, None, [[0]], True)
without_pynccl(init, None, [[0]], use_pynccl=True, other=2)
assert seen[1:] == [([[0]], False, 1), ([[0]], False, 2)]
# SGLang's own constructor has that parameter.
import inspect
assert "use_pynccl" in inspect.signature(inspect.unwrap(parallel_state.GroupCoordinator.__init__)).parameters
"""
    )
    done = python(check, tmp_path, HARNESS_PLUGIN_DIR=str(tmp_path), HARNESS_PLUGIN_ONE_GPU="True")
    assert done.returncode == 0, done.stderr


def test_ranks_on_a_cpu_are_forks_of_the_launcher(tmp_path: Path) -> None:
    """SGLang's own set-up says spawn, last of all; under the hook a process that starts after it is a fork.

    What asks for the tokenizer as SGLang does gets the launcher's.
    """
    check = (
        REGISTER
        + """
import gc, inspect, multiprocessing, sys
from sglang.srt.entrypoints import engine
from harness.sglang_plugin.forked_ranks import SET_UP
assert SET_UP in HookRegistry._patched
assert "set_start_method" in inspect.getsource(inspect.unwrap(engine._set_envs_and_config))
from functools import partial
from types import SimpleNamespace
import harness.sglang_plugin.forked_ranks as forked
assert forked.TOKENIZER in HookRegistry._patched
loaded = []
def load(path, **how):
    loaded.append((path, how))
    return len(loaded)
asked = {"tokenizer_mode": "auto", "trust_remote_code": False, "revision": None}
def look(queue):
    inherited = forked.MODELS in sys.modules and gc.get_freeze_count() > 0
    queue.put((forked.tokenizer(load, "model", **asked), loaded, inherited))
forked.resolve_name = lambda _name: partial(forked.tokenizer, load)
said = SimpleNamespace(skip_tokenizer_init=False, tokenizer_path=None, model_path="model", **asked)
from pathlib import Path
from harness.sglang_plugin.settings import Settings
forked.fork(Settings(dir=Path()), lambda _said: multiprocessing.set_start_method("spawn", force=True), said)
queue = multiprocessing.SimpleQueue()
process = multiprocessing.Process(target=look, args=(queue,))
process.start()
assert queue.get() == (1, [("model", asked)], True)
process.join()
"""
    )
    done = python(check, tmp_path, HARNESS_PLUGIN_DIR=str(tmp_path), SGLANG_USE_CPU_ENGINE="1")
    assert done.returncode == 0, done.stderr
