"""SGLang's plugin: lets compressed communication run off NPU, and proves where and how often it ran.

SGLang calls `register` in every process it starts. Without the variable HARNESS_PLUGIN_DIR it does nothing,
so that an installed plugin never changes a server that was not started by the harness.
"""

import os
from pathlib import Path

DIRECTORY = "HARNESS_PLUGIN_DIR"
CODEC = "HARNESS_PLUGIN_CODEC"
ALGORITHM = "HARNESS_PLUGIN_ALGORITHM"


def register() -> None:
    """Register the hooks, if this server was started by the harness.

    Raises:
        Exception: Whatever goes wrong. SGLang only logs it; the harness notices, since a rank that does not
            count writes no log, and a run without its ranks' logs is an ERROR.
    """
    if directory := os.environ.get(DIRECTORY):
        # Imported only now: a server that is not ours must not pay for it, nor break on it.
        from harness.sglang_plugin.hooks import register_hooks  # noqa: PLC0415

        register_hooks(
            Path(directory),
            codec=os.environ.get(CODEC, "int8_token"),
            algorithm=os.environ.get(ALGORITHM, "one_shot"),
        )
