"""The priorities of a rank's threads, in processes that have process groups."""

import os
from pathlib import Path

from torch.distributed import ProcessGroup

from harness.collective.gloo_threads import LOWEST, loops_give_way
from suites.ranks.pool import Pool


def priorities(_rank: int, _group: ProcessGroup) -> tuple[set[int], set[int]]:
    """Return those of gloo's event loops and of all other threads."""
    found: dict[bool, set[int]] = {True: set(), False: set()}
    for thread in Path("/proc/self/task").iterdir():
        looping = (thread / "comm").read_text().startswith("gloo_tcp_loop")
        found[looping].add(os.getpriority(os.PRIO_PROCESS, int(thread.name)))
    return found[True], found[False]


def test_gloos_event_loops_give_way_and_no_other_thread_does(pool: Pool) -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert pool.run(2, priorities) == [({LOWEST}, {own})] * 2


def test_a_process_without_process_groups_has_no_loop() -> None:
    assert loops_give_way() == 0
