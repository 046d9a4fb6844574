"""Plans each server of a run: its command, its environment, and what its plugin is told."""

import os
from pathlib import Path

from harness import malloc
from harness.config.suite import Suite
from harness.places import CPU_SHIMS
from harness.plan.options import Options
from harness.plan.plan import AGAIN, BASELINE, COMPRESSED, KEY_FILE, PORT, Arm
from harness.records.run_folder import RunFolder
from harness.sglang_plugin.settings import Settings

PLUGIN = "tp_compression_harness"
# The cores of each rank, with `|` between ranks.
BOUND_CORES = "SGLANG_CPU_OMP_THREADS_BIND"
THREADS = "OMP_NUM_THREADS"
ON_CPU = {
    # SGLang has torch compile a few sums of integers, which takes each rank seconds and gains nothing.
    "TORCH_COMPILE_DISABLE": "1",
    **malloc.KEPT,
}
# SGLang's argument that puts all ranks on one GPU, which SGLang itself refuses: the plugin opens the way.
ONE_GPU = "--gpu-id-step=0"
# On an NPU SGLang's own code compresses, whatever a suite says; this is the codec that computes what it does.
NPU_CODEC = "upstream_bf16"


def arm_names(suite: Suite, options: Options) -> list[str]:
    """Return which arms run, in order; the baseline again comes last, when the machine has drifted if it does."""
    if options.baselines is not None:
        return [BASELINE, *(f"{BASELINE}-{run}" for run in range(2, options.baselines + 1))]
    wanted = suite.noise_floor if options.noise_floor is None else options.noise_floor
    return [BASELINE, COMPRESSED, AGAIN] if wanted else [BASELINE, COMPRESSED]


def make_arm(name: str, suite: Suite, options: Options, *, model_path: str, python: Path, folder: RunFolder) -> Arm:
    """Plan one arm. All differ in where they write, the compressed one in the flag, and none in anything else."""
    compression = suite.compression
    plugin = Settings(
        dir=folder.arm(name).engagement,
        codec=NPU_CODEC if suite.device == "npu" else compression.codec,
        algorithm="one_shot" if suite.device == "npu" else compression.algorithm,
        claims=compression.claims,
        check_every=compression.live_check.every if options.live_check else 0,
        # Beside its logs, so that whoever takes over a stored baseline has it. A calibration has nothing to compare.
        one_gpu=ONE_GPU in suite.server.args,
        reference=folder.arm(BASELINE).engagement if suite.fidelity and options.baselines is None else None,
    )
    arm = server_arm(
        name, suite, plugin=plugin, plugin_path=options.plugin_path, model_path=model_path, python=python
    )
    if name != COMPRESSED:
        return arm
    # With --together: the devices after the baseline's.
    taken = 1 if plugin.one_gpu else suite.server.tp
    apart = ["--base-gpu-id", str(taken)] if options.together and suite.device != "cpu" else []
    argv = [*arm.argv, "--enable-quant-communications", *apart]
    return arm.model_copy(update={"compressed": True, "argv": argv})


def server_arm(
    name: str,
    suite: Suite,
    *,
    plugin: Settings,
    plugin_path: Path,
    model_path: str,
    python: Path,
    tp: int | None = None,
    more: tuple[str, ...] = (),
) -> Arm:
    """Plan a server that does not compress.

    Args:
        name: Its name.
        suite: Whose server it is.
        plugin: What its plugin is told.
        plugin_path: The folder that carries the plugin's entry point.
        model_path: The model.
        python: The interpreter that has SGLang.
        tp: Tensor-parallel ranks; as the suite says if None.
        more: Arguments beside the suite's own.
    """
    shims = [str(CPU_SHIMS)] if suite.device == "cpu" else []
    outer = [path for path in (os.environ.get("PYTHONPATH"),) if path]
    env = {
        # All ranks are on this machine. What torch's own store listens on cannot be chosen.
        "GLOO_SOCKET_IFNAME": "lo",
        **(ON_CPU if suite.device == "cpu" else {}),
        **threads(suite.server.env),
        "PATH": os.pathsep.join((str(python.parent), os.environ.get("PATH", os.defpath))),
        "PYTHONPATH": os.pathsep.join((*shims, str(plugin_path.resolve()), *outer)),
        **plugin.env(),
    }
    if allowed := os.environ.get("SGLANG_PLUGINS"):
        # The user's list of plugins would keep ours out.
        env["SGLANG_PLUGINS"] = f"{allowed},{PLUGIN}"
    revision = suite.model.revision
    argv = [
        str(python.parent / "sglang"),
        "serve",
        "--model-path",
        model_path,
        "--device",
        suite.device,
        "--tp-size",
        str(tp or suite.server.tp),
        "--host",
        "127.0.0.1",
        "--port",
        PORT,
        "--config",
        KEY_FILE,
        *(["--trust-remote-code"] if suite.model.trust_remote_code else []),
        *(["--revision", revision] if revision and not Path(model_path).is_absolute() else []),
        *suite.server.args,
        *more,
    ]
    return Arm(name=name, compressed=False, argv=argv, env=env, engagement=str(plugin.dir))


def threads(env: dict[str, str]) -> dict[str, str]:
    """Return a server's variables with as many OpenMP threads as the cores that a rank is bound to.

    OpenMP would start one for each core of the machine; they share the rank's cores and spin at every barrier. An
    uncompressed prefill of two ranks on two cores took more than twice as long with them.
    """
    if not (bound := env.get(BOUND_CORES)) or THREADS in env:
        return env
    return {**env, THREADS: str(min(_count(cores) for cores in bound.split("|")))}


def _count(cores: str) -> int:
    """Return how many cores `0-3,8` names; 1 for what is no such list, which SGLang will say."""
    count = 0
    for part in cores.split(","):
        first, _, last = part.partition("-")
        if not first.isdecimal() or not (last or first).isdecimal():
            return 1
        count += int(last or first) - int(first) + 1
    return max(1, count)


def shared_cores(suite: Suite) -> str:
    """Say why two servers on this CPU would share cores: they then take ten times as long. Empty where they don't."""
    if bound := suite.server.env.get(BOUND_CORES):
        return f"the suite binds both servers' ranks to the same cores (server.env.{BOUND_CORES}: {bound!r})"
    cores, wanted = len(os.sched_getaffinity(0)), 2 * suite.server.tp
    return f"there are {cores} cores for {wanted} ranks" if cores < wanted else ""
