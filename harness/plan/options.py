"""What the user may say on the command line."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from harness.places import ROOT
from harness.strict import Strict


class Options(Strict):
    """What the user may say on the command line; None means: as the suite says.

    Attributes:
        suite: The suite's name, or its file's path.
        thresholds: A file of thresholds in place of the usual one.
        server_python: The interpreter that has SGLang.
        plugin_path: The folder that carries the plugin's entry point (made by nox, see environments.py).
        model_path: Another place of the same model.
        limit: At most so many questions a task.
        port: A fixed port for the servers.
        reports: Where the run's folder goes.
        live_check: Whether the suite's live check runs.
        dry_run: Plan even what could not be carried out here.
        noise_floor: Whether the baseline runs once more, to see what changes by itself.
        early_stop: Whether tasks end as soon as their verdict is certain.
        together: Whether the baseline's and the compressed server are up at once, each on devices of its own.
        reuse_baseline: The folder of an earlier run whose baseline is taken instead of measuring it again.
        strict: Whether a WARNING makes the run a FAIL.
        codec: A codec, or an implementation under test, in place of the suite's.
        claims: With an implementation under test, the codec whose bound and bytes it claims.
        policy: A file that says what is compressed and how, in place of the suite's `compression`.
        baselines: For a calibration: how often the baseline runs, and nothing else does.
        allow_wider: For a calibration: whether a floor below today's may be proposed.
    """

    suite: str
    thresholds: Annotated[Path, Field(strict=False)] | None = None
    server_python: Annotated[Path, Field(strict=False)]
    plugin_path: Annotated[Path, Field(strict=False)]
    model_path: str | None = None
    limit: Annotated[int, Field(gt=0)] | None = None
    port: Annotated[int, Field(gt=0, lt=65536)] | None = None
    reports: Annotated[Path, Field(strict=False)] = ROOT / "reports"
    live_check: bool = True
    dry_run: bool = False
    noise_floor: bool | None = None
    early_stop: bool | None = None
    together: bool = False
    reuse_baseline: Annotated[Path, Field(strict=False)] | None = None
    strict: bool | None = None
    codec: str | None = None
    claims: str | None = None
    policy: Annotated[Path, Field(strict=False)] | None = None
    baselines: Annotated[int, Field(gt=0)] | None = None
    allow_wider: bool = False
