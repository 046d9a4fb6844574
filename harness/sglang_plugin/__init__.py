"""SGLang's plugin: lets compressed communication run off NPU, and proves where and how often it ran.

SGLang calls `register` in every process it starts. Without the variable HARNESS_PLUGIN_DIR it does nothing,
so that an installed plugin never changes a server that was not started by the harness.
"""

import os
from pathlib import Path

DIRECTORY = "HARNESS_PLUGIN_DIR"
# A codec of harness.collective, or `module:function`: an implementation under test, called as f(x, group).
CODEC = "HARNESS_PLUGIN_CODEC"
ALGORITHM = "HARNESS_PLUGIN_ALGORITHM"
# The codec whose bound and bytes an implementation under test claims.
CLAIMS = "HARNESS_PLUGIN_CLAIMS"
# The live check: every so many calls; 0 is off.
CHECK_EVERY = "HARNESS_PLUGIN_CHECK_EVERY"
# A file for the messages of one prefill: see harness.sglang_plugin.capture.
CAPTURE = "HARNESS_PLUGIN_CAPTURE"


def register() -> None:
    """Register the hooks, if this server was started by the harness.

    Raises:
        Exception: Whatever goes wrong. SGLang only logs it; the harness notices, since a rank that does not
            count writes no log, and a run without its ranks' logs is an ERROR.
    """
    if directory := os.environ.get(DIRECTORY):
        # Imported only now: a server that is not ours must not pay for it, nor break on it.
        from harness.sglang_plugin.hooks import register_hooks  # noqa: PLC0415

        codec = os.environ.get(CODEC, "int8_token")
        capture = os.environ.get(CAPTURE)
        register_hooks(
            Path(directory),
            codec=codec,
            claims=os.environ.get(CLAIMS, codec),
            algorithm=os.environ.get(ALGORITHM, "one_shot"),
            check_every=int(os.environ.get(CHECK_EVERY, "0")),
            capture=Path(capture) if capture else None,
        )
