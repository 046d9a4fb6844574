"""A prepared folder, which appears only when it is complete. Run by the server's interpreter too."""

import errno
import json
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

DONE = "prepared.json"
# Raised whenever what is made of the same sources changes: an older cache is then made anew. 2: a tokenizer says how
# much its model takes.
FORM = 2
# Nobody works on one folder for so long: whoever made it is gone.
ABANDONED_S = 24 * 3600


def is_prepared(folder: Path) -> bool:
    """Return whether `folder` is there, which it is only as a whole, and is of today's form."""
    try:
        return int(json.loads((folder / DONE).read_text(encoding="utf-8")).get("form", 1)) >= FORM
    except (OSError, ValueError, TypeError, AttributeError):
        return False


@contextmanager
def whole_folder(out: Path, made: Mapping[str, object]) -> Iterator[Path]:
    """Give a folder to write a model into, as `partial_folder` does.

    Args:
        out: The folder to be; replaced if it exists.
        made: How it was made; kept in it.
    """
    with partial_folder(out) as partial:
        yield partial
        (partial / DONE).write_text(json.dumps({**made, "form": FORM}))


@contextmanager
def partial_folder(out: Path) -> Iterator[Path]:
    """Give a folder of one's own to write into, which becomes `out` at the end of the body.

    Several may make the same one at once: each has its own until then. One that is cut off leaves nothing that looks
    done.

    Args:
        out: The folder to be; replaced if it exists.

    Raises:
        OSError: It cannot be made.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    for left in out.parent.glob(f"{out.name}.*.partial"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > ABANDONED_S:
                shutil.rmtree(left)
    partial, old = (out.with_name(f"{out.name}.{secrets.token_hex(4)}.partial") for _ in range(2))
    partial.mkdir()
    try:
        yield partial
        with suppress(FileNotFoundError):
            out.rename(old)
        _put(partial, out)
    finally:
        for left in (partial, old):
            shutil.rmtree(left, ignore_errors=True)


def _put(partial: Path, out: Path) -> None:
    while True:
        try:
            partial.rename(out)
        except OSError as error:
            # Somebody else's, made in the meantime, is as good.
            if out.exists():
                return
            # A third has just moved that aside, to put its own there.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        else:
            return
