"""SGLang's plugin: lets compressed communication run off NPU, and proves where and how often it ran.

SGLang calls `register` in every process it starts. Without the variable HARNESS_PLUGIN_DIR it does nothing,
so that an installed plugin never changes a server that was not started by the harness.
"""

import os

from harness.sglang_plugin.settings import Settings


def register() -> None:
    """Register the hooks, if this server was started by the harness.

    Raises:
        Exception: Whatever goes wrong. SGLang only logs it; the harness notices, since a rank that does not
            count writes no log, and a run without its ranks' logs is an ERROR.
    """
    if settings := Settings.from_env(os.environ):
        # Imported only now: a server that is not ours must not pay for it, nor break on it.
        from harness.sglang_plugin.hooks import register_hooks  # noqa: PLC0415

        register_hooks(settings)
