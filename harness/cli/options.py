"""The options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from harness.config.suite import Source

SuiteName = Annotated[str, typer.Option(help="A suite of suites/accuracy, or a file's path: /folder/own.yaml.")]
ThresholdsFile = Annotated[
    Path | None,
    typer.Option(
        "--thresholds",
        help="A file of thresholds; default: thresholds.yaml beside the suite's file, or the project's.",
    ),
]
ServerPython = Annotated[
    Path | None, typer.Option(envvar="HARNESS_SERVER_PYTHON", help="The interpreter that has SGLang.")
]
PluginPath = Annotated[Path | None, typer.Option(envvar="HARNESS_PLUGIN_PATH", hidden=True, help="Made by nox.")]
ModelPath = Annotated[str | None, typer.Option(help="Another place of the suite's model.")]
Data = Annotated[Source | None, typer.Option(help="Where the data comes from; default: as the suite says.")]
DataFolder = Annotated[Path | None, typer.Option(help="A folder of your own data; means `--data folder`.")]
Limit = Annotated[int | None, typer.Option(min=1, help="At most so many questions a task and texts a source.")]
Port = Annotated[int | None, typer.Option(min=1, max=65535, help="A fixed port; default: a free one.")]
Reports = Annotated[
    Path | None,
    typer.Option(help="Where the run's folder goes; default: reports/ here, or beside a suite's file elsewhere."),
]
Resume = Annotated[
    Path | None,
    typer.Option(help="The folder of a broken run, which goes on as it was planned."),
]
