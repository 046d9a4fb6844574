"""Runs in the server's environment: SGLang is imported once, with its own imports' warnings left out."""

import warnings

with warnings.catch_warnings():
    # Not ours to mend: torch and SGLang warn of each other while they are imported.
    warnings.simplefilter("ignore")
    import sglang.srt.layers.linear
    import sglang.srt.model_executor.model_runner
    import sglang.srt.server_args  # noqa: F401
