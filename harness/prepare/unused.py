"""Keeps the cache from growing for ever: a folder notes when it is used, and its neighbours go that nobody used."""

import fcntl
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

# No run takes so long: `deadlines.run_s` is six hours by default. What goes is made again when it is wanted.
UNUSED_S = 30 * 24 * 3600


def note_use(folder: Path, alike: str) -> None:
    """Note that a prepared folder is about to be used, and remove what is like it and was not used for a month.

    Called before the folder is looked at: either it is kept, or it is gone already. Where nothing can be written
    nothing is noted, and nothing removed.

    Args:
        folder: The folder; it need not be there.
        alike: A pattern of the names of it and its like.
    """
    with suppress(OSError):
        place = os.open(folder.parent, os.O_RDONLY)
        try:
            fcntl.flock(place, fcntl.LOCK_EX)
            if folder.exists():
                os.utime(folder)
            for other in folder.parent.glob(alike):
                if time.time() - other.stat().st_mtime > UNUSED_S:
                    shutil.rmtree(other, ignore_errors=True)
        finally:
            os.close(place)
