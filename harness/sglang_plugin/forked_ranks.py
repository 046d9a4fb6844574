"""Ranks on a CPU are forks of SGLang's launcher, which has imported what each of them would import again.

SGLang spawns its processes, for CUDA does not outlive a fork; each imports some 6,000 modules. On a CPU nothing
stands against a fork: no thread of the launcher computes before its ranks exist.
"""

import multiprocessing
from collections.abc import Callable
from typing import Any

from sglang.srt.plugins.hook_registry import HookRegistry, HookType

# Sets the way in which processes start, before the first of them does.
SET_UP = "sglang.srt.entrypoints.engine._set_envs_and_config"


def register_forked_ranks() -> None:
    """Register the hook."""
    HookRegistry.register(SET_UP, fork, HookType.AROUND)


def fork(original: Callable[..., None], *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - SGLang's ServerArgs
    """Let SGLang set up what its processes share, and have them forked."""
    original(*args, **kwargs)
    multiprocessing.set_start_method("fork", force=True)
