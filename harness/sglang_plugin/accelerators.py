"""What the servers' interpreter sees of the accelerators that a plan needs, asked before any server starts."""

import os
import sys
from collections.abc import Iterable
from importlib import import_module
from typing import Any

GIB = 2**30
TOGETHER = ", or leave --together out and run one server after the other"
WHICH = "requirements/server-npu.txt says which torch, torch_npu and CANN belong together"
FRACTION = "--mem-fraction-static="


def gpu_problems(ranks: int, servers: int) -> list[str]:
    """Say so if this interpreter sees fewer GPUs than the servers that are up at once have ranks."""
    try:
        torch = import_module("torch")
        seen = torch.cuda.device_count()
        sees = f"{seen} (torch {torch.__version__}, CUDA_VISIBLE_DEVICES={os.environ.get('CUDA_VISIBLE_DEVICES')})"
    except Exception as error:  # noqa: BLE001 - torch can fail in any way where its libraries or the driver are broken
        seen, sees = 0, f"none ({error!r})"
    if seen >= ranks * servers:
        return []
    what_to_do = (
        "use a machine that has them, an interpreter with a CUDA build of torch (--server-python), or a "
        "CUDA_VISIBLE_DEVICES that names them"
    )
    if servers > 1 and seen >= ranks:
        what_to_do += TOGETHER
    # With all ranks on one GPU a server needs no more.
    why = "a GPU for each server" if ranks == 1 else "a GPU for each rank of each server"
    text = f"{sys.executable} sees too few NVIDIA GPUs: {sees}, where {servers} x {ranks} are needed"
    return [f"{text}, {why} that is up at once: {what_to_do}"]


def npu_problems(ranks: int, servers: int, arguments: Iterable[str]) -> list[str]:
    """Say what an NPU host lacks: CANN, torch_npu and the kernel, devices, free memory. Not run on hardware.

    Args:
        ranks: A server's ranks.
        servers: How many servers are up at once.
        arguments: A server's arguments, of which one says how much memory it takes.
    """
    home = os.environ.get("ASCEND_HOME_PATH")
    sourced = f"CANN is at {home}" if home else "ASCEND_HOME_PATH is not set: source CANN's set_env.sh first"
    try:
        torch, npu = import_module("torch"), import_module("torch_npu")
    except Exception as error:  # noqa: BLE001 - torch_npu fails in any way without CANN's libraries
        text = f"{sys.executable} cannot import torch_npu ({error!r}); {sourced}. {WHICH}"
        return [text]
    problems = []
    if _minor(torch.__version__) != _minor(npu.__version__):
        problems.append(
            f"torch_npu {npu.__version__} is made for torch {_minor(npu.__version__)}, and {torch.__version__} is "
            f"there. {WHICH}"
        )
    if not hasattr(npu, "npu_dynamic_quant"):
        problems.append(
            f"torch_npu {npu.__version__} has no npu_dynamic_quant: SGLang would compress nothing, or not start"
        )
    seen = npu.npu.device_count()
    if seen < ranks * servers:
        visible = os.environ.get("ASCEND_RT_VISIBLE_DEVICES")
        also = TOGETHER if servers > 1 and seen >= ranks else ""
        problems.append(
            f"{sys.executable} sees {seen} NPUs (ASCEND_RT_VISIBLE_DEVICES={visible}), where {servers} x {ranks} are "
            f"needed: use a host or a container that has them (`npu-smi info` lists them){also}"
        )
    wanted = [float(argument.removeprefix(FRACTION)) for argument in arguments if argument.startswith(FRACTION)]
    for device in range(min(seen, ranks * servers)):
        free, total = npu.npu.mem_get_info(device)
        if wanted and free < wanted[-1] * total:
            problems.append(
                f"NPU {device} has {free / GIB:.1f} of {total / GIB:.1f} GiB free, and {FRACTION}{wanted[-1]} takes "
                f"{wanted[-1] * total / GIB:.1f}: end what holds it (`npu-smi info`), or give a smaller share"
            )
    return problems


def cann_version() -> str:
    """Return the version of CANN that torch_npu runs on; empty where it does not say."""
    try:
        return str(import_module("torch_npu.npu.utils").get_cann_version("CANN"))
    except Exception:  # noqa: BLE001 - see above; older ones have no such function
        return ""


def _minor(version: Any) -> str:  # noqa: ANN401 - torch's is a class of its own
    return ".".join(str(version).split(".")[:2])
