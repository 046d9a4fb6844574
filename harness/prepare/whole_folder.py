"""A prepared model's folder, which appears only when it is complete. Run by the server's interpreter."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

DONE = "prepared.json"


def is_prepared(folder: Path) -> bool:
    """Return whether `folder` is there, which it is only as a whole."""
    return (folder / DONE).exists()


@contextmanager
def whole_folder(out: Path, made: Mapping[str, object]) -> Iterator[Path]:
    """Give a folder to write into, which becomes `out` at the end of the body.

    A run that is cut off leaves nothing that looks done.

    Args:
        out: The folder to be; replaced if it exists.
        made: How it was made; kept in it.
    """
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    yield partial
    (partial / DONE).write_text(json.dumps(made))
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
