"""gloo's event loop, kept from using up a core that its own process waits for.

Where another thread holds a connection's lock, the loop does not wait for it but looks again at once
(`Pair::handleEvents` in gloo/transport/tcp/pair.cc). With fewer cores than threads that work, and most of all where a
rank is bound to one core, it then spins until its time is up, while the thread that it waits for cannot run. At the
lowest priority it gives way: docs/speed.md has by how much.
"""

import os
from contextlib import suppress
from pathlib import Path

LOWEST = 19
LOOP = "gloo_tcp_loop"
THREADS = Path("/proc/self/task")


def loops_give_way() -> int:
    """Give every event loop of gloo's that this process has the lowest priority, and return how many there are.

    To be called once the process groups are made. Where Linux does not tell of threads, nothing happens.
    """
    found = 0
    for thread in THREADS.iterdir() if THREADS.exists() else ():
        # A thread may end meanwhile.
        with suppress(FileNotFoundError, ProcessLookupError):
            if (thread / "comm").read_text().strip() == LOOP:
                # Linux gives each thread a priority of its own, and takes its number where a process's is due.
                os.setpriority(os.PRIO_PROCESS, int(thread.name), LOWEST)
                found += 1
    return found
