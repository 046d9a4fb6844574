"""Two ranks of a server on one GPU: three places of SGLang that stand against it, opened by its own hooks.

NCCL refuses two ranks on one device, so that the ranks talk over gloo, which takes CUDA tensors for what SGLang's
tensor parallelism does. A suite asks for it by SGLang's own argument, `--gpu-id-step=0`.
"""

import inspect
from collections.abc import Callable
from typing import Any

from sglang.srt.plugins.hook_registry import HookRegistry, HookType

from harness.sglang_plugin.releases import set_argument

BACKEND = "sglang.srt.distributed.parallel_state.get_default_distributed_backend"
GROUP = "sglang.srt.distributed.parallel_state.GroupCoordinator.__init__"
STEP = "gpu_id_step"


def register_one_gpu() -> None:
    """Register the hooks of what is needed beside the check of the arguments: see `check_with_a_step`."""
    HookRegistry.register(BACKEND, gloo, HookType.REPLACE)
    HookRegistry.register(GROUP, without_pynccl, HookType.AROUND)


def gloo(_device: str) -> str:
    """Stand in for SGLang's choice of a torch.distributed backend."""
    return "gloo"


def without_pynccl(original: Callable[..., None], *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - SGLang's
    """Run around `GroupCoordinator.__init__`: no communicator over NCCL."""
    given = inspect.signature(original).bind(*args, **kwargs)
    given.arguments["use_pynccl"] = False
    original(*given.args, **given.kwargs)


def check_with_a_step(original: Callable[..., None], server_args: Any) -> None:  # noqa: ANN401 - SGLang's ServerArgs
    """Run SGLang's check of its arguments, which wants each rank on a GPU of its own, as if they were."""
    asked = server_args.gpu_id_step
    set_argument(server_args, STEP, 1)
    try:
        original(server_args)
    finally:
        set_argument(server_args, STEP, asked)
