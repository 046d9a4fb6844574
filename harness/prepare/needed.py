"""Which files of data a suite needs, and whether a source has them."""

from pathlib import Path

from harness.config.load import task_of
from harness.config.suite import Source, Suite
from harness.errors import HarnessError
from harness.prepare.data import BOOLQ, FILES, GSM8K_TEST

TEXTS = {"gsm8k": GSM8K_TEST, "boolq": BOOLQ}


def needed_files(suite: Suite, source: Source) -> list[str]:
    """Return the files that a suite's tasks and fixed texts are read from, each once.

    Args:
        suite: The suite.
        source: Where its data comes from.

    Raises:
        HarnessError: The source has no data for a task; all at once.
    """
    files: list[str] = []
    problems: list[str] = []
    for name, run in suite.tasks.items():
        task = task_of(name, run)
        own = run.data_files or task.data_files
        if own is None and source is Source.FOLDER:
            example = ", ".join(f"{split}: {name}/{split}.jsonl" for split in task.splits[:1])
            problems.append(
                f"tasks.{name}: say which file of the data's folder has its questions, in the columns that lm-eval's "
                f"definition reads ({task.path}): data_files: {{{example}}}; it reads the splits "
                f"{', '.join(task.splits)}"
            )
        elif own is None and source is Source.PACKAGED:
            problems.append(
                f"tasks.{name}: the packaged data has no questions of it: give a folder (--data-folder, and "
                "tasks.NAME.data_files), or take lm-eval's own (--data hub)"
            )
        elif own is not None:
            foreign = [file for file in own.values() if file not in FILES]
            if foreign and source is not Source.FOLDER:
                problems.append(
                    f"tasks.{name}: {', '.join(foreign)} can only come from a folder of yours: --data-folder PATH"
                )
            files += own.values()
    texts = suite.fidelity.texts.keys() - suite.fidelity.tasks.keys() if suite.fidelity else ()
    files += [file for name, file in TEXTS.items() if name in texts]
    if problems:
        raise HarnessError("\n".join(problems))
    return list(dict.fromkeys(files))


def data_folder(suite: Suite, source: Source, given: Path | None) -> Path | None:
    """Return the folder of the data: that of the command line, or else the suite's own."""
    if source is not Source.FOLDER:
        return None
    return given or (Path(suite.data_folder) if suite.data_folder is not None else None)
