"""Ranks on a CPU are forks of SGLang's launcher, which has imported what each of them would import again.

SGLang spawns its processes, for CUDA does not outlive a fork; each imports some 6,000 modules. On a CPU nothing
stands against a fork: no thread of the launcher computes before its ranks exist. The tokenizer, two seconds of a
core, is loaded once too: the launcher, the detokenizer and each rank, twice, would all load it. So are the classes of
all models, of which each rank would import some 200 modules to find its own.

A launcher may be begun while another server is asked, or starts: it then waits here, before it has a port or a rank.
"""

import gc
import multiprocessing
from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from pkgutil import resolve_name
from typing import Any

from sglang.srt.plugins.hook_registry import HookRegistry, HookType

from harness.sglang_plugin.settings import Settings

# Sets the way in which processes start, before the first of them does.
SET_UP = "sglang.srt.entrypoints.engine._set_envs_and_config"
ASKED = ("tokenizer_mode", "trust_remote_code", "revision", "tokenizer_backend")
MODELS = "sglang.srt.models.registry"
TOKENIZER = "sglang.srt.utils.hf_transformers_utils.get_tokenizer"


def register_forked_ranks(settings: Settings) -> None:
    """Register the hooks."""
    HookRegistry.register(SET_UP, partial(fork, settings), HookType.AROUND)
    HookRegistry.register(TOKENIZER, tokenizer, HookType.AROUND)


def fork(
    settings: Settings,
    original: Callable[..., None],
    server_args: Any,  # noqa: ANN401 - SGLang's
    *args: Any,  # noqa: ANN401 - SGLang's
    **kwargs: Any,  # noqa: ANN401 - SGLang's
) -> None:
    """Let SGLang set up what its processes share, load what all need, and have them forked once they may be."""
    original(server_args, *args, **kwargs)
    multiprocessing.set_start_method("fork", force=True)
    if not server_args.skip_tokenizer_init:
        # As every process asks for it; one that asks otherwise, in another release, loads its own.
        asked = {name: getattr(server_args, name) for name in ASKED if hasattr(server_args, name)}
        resolve_name(TOKENIZER)(server_args.tokenizer_path or server_args.model_path, **asked)
    import_module(MODELS)
    # Nothing of this is garbage: a rank would look through all of it, several times while it starts.
    gc.collect()
    gc.freeze()
    settings.wait_to_go()


@cache
def tokenizer(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - SGLang's
    """Return the tokenizer that was loaded for the same arguments before, or load it."""
    return original(*args, **kwargs)
