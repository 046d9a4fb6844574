"""A pool of processes in groups, started once and handed many small jobs.

Starting a process group costs seconds and a case costs milliseconds. Every process is a member of one group
for each rank count asked for: ranks 0 to n - 1 of the pool.
"""

import datetime as dt
import multiprocessing
import multiprocessing.connection
import os
import pickle
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.context import ForkServerProcess
from types import TracebackType
from typing import Any, Self, TypeVar

import torch
from torch import distributed

from harness.collective.gloo_threads import loops_give_way

T = TypeVar("T")

JOB_TIMEOUT_S = 60.0
"""No case works for this long on its own; one that does waits for a peer that will never send."""

COMPILING_TIMEOUT_S = 300.0
"""The same on GPUs, where the first call of a kernel compiles it."""

WITHOUT_MULTICAST = {"NCCL_NVLS_ENABLE": "0", "TORCH_SYMM_MEM_DISABLE_MULTICAST": "1", "NVSHMEM_DISABLE_NVLS": "1"}

GRACE_S = 3.0
"""How long the other ranks may take after one has failed: they may be waiting for it."""


class WorkerError(RuntimeError):
    """A job failed or hung on some rank; the message holds each failing rank's traceback."""


class Pool:
    """Processes that run a function on the first n ranks. A context manager.

    A job that fails on one rank can leave its peers waiting inside a collective, so the processes are then
    killed and started again for the next job.

    Args:
        rank_counts: Sizes of the groups to be made.
        device: Where jobs are to put their tensors. Over gloo all ranks share one GPU.
        backend: ``gloo``, or ``nccl``, for which each rank has a GPU of its own.
        timeout_s: Seconds after which a job is taken to hang.
    """

    def __init__(
        self,
        rank_counts: Sequence[int],
        device: str = "cpu",
        backend: str = "gloo",
        timeout_s: float = JOB_TIMEOUT_S,
    ) -> None:
        self.device = device
        self._backend = backend
        self._timeout_s = timeout_s
        self._rank_counts = sorted(set(rank_counts))
        self._processes: list[ForkServerProcess] = []
        self._pipes: list[multiprocessing.connection.Connection] = []
        self._folder = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def run(self, ranks: int, job: Callable[..., T], *arguments: object) -> list[T]:
        """Calls ``job(rank, group, *arguments)`` on ranks 0 to ``ranks - 1`` at once.

        Args:
            ranks: One of the rank counts given at the start.
            job: A module-level function, looked up by name in the workers.
            *arguments: Anything that can be pickled.

        Returns:
            Each rank's result, in rank order.

        Raises:
            WorkerError: The job raised or did not end.
        """
        return self.run_each(job, [arguments] * ranks)

    def run_each(self, job: Callable[..., T], arguments: Sequence[tuple[object, ...]]) -> list[T]:
        """Like ``run``, with arguments of its own for each rank, whose number is the rank count."""
        ranks = len(arguments)
        if ranks not in self._rank_counts:
            raise ValueError(f"the pool was started for {self._rank_counts} ranks, not {ranks}")
        self._start()
        for pipe, own in zip(self._pipes, arguments, strict=False):
            pipe.send_bytes(pickle.dumps((ranks, job, own)))
        return self._collect(ranks)

    def close(self) -> None:
        """Ends the processes."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()
        for pipe in self._pipes:
            pipe.close()
        self._processes, self._pipes = [], []
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> None:
        if self._processes:
            return
        # The judge's own: its threads and the ranks' would wait for each other, many times longer than they work.
        torch.set_num_threads(1)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["torch", "torch.distributed", __name__])
        # There as long as the processes: over NCCL ranks meet in it at their first collective, not before.
        self._folder = tempfile.mkdtemp(prefix="ranks-")
        for rank in range(self._rank_counts[-1]):
            here, there = context.Pipe()
            process = context.Process(
                target=_serve,
                args=(there, rank, self._rank_counts, f"{self._folder}/store", self._backend, self._timeout_s),
                daemon=True,
            )
            process.start()
            there.close()
            self._processes.append(process)
            self._pipes.append(here)
        self._collect(self._rank_counts[-1])

    def _collect(self, ranks: int) -> list[Any]:
        waiting = dict(zip(self._pipes[:ranks], range(ranks), strict=True))
        results: dict[int, Any] = {}
        failures: dict[int, str] = {}
        deadline = time.monotonic() + self._timeout_s
        while waiting and time.monotonic() < deadline:
            for ready in multiprocessing.connection.wait(list(waiting), timeout=deadline - time.monotonic()):
                assert isinstance(ready, multiprocessing.connection.Connection)
                rank = waiting.pop(ready)
                try:
                    ok, value = pickle.loads(ready.recv_bytes())  # noqa: S301 - our own child's pipe
                except EOFError:
                    ok, value = False, "the process died"
                (results if ok else failures)[rank] = value
                if not ok:
                    deadline = min(deadline, time.monotonic() + GRACE_S)
        if waiting or failures:
            self.close()
            texts = [f"rank {rank}: {text}" for rank, text in sorted(failures.items())]
            texts += [f"rank {rank}: never answered" for rank in waiting.values()]
            raise WorkerError("\n".join(texts))
        return [results[rank] for rank in range(ranks)]


def multicast_off() -> None:
    """Leaves NVLink multicast off in this process and those it starts, where their environment doesn't say otherwise.

    Before the first process group. With it switches add, which the model of a ring knows nothing of, and it depends
    on how the host's fabric is set up.
    """
    for name, value in WITHOUT_MULTICAST.items():
        os.environ.setdefault(name, value)


def _serve(  # noqa: PLR0917 - a process takes its arguments by position
    pipe: multiprocessing.connection.Connection,
    rank: int,
    rank_counts: list[int],
    store: str,
    backend: str,
    timeout_s: float,
) -> None:
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    multicast_off()
    if backend == "nccl":
        torch.cuda.set_device(rank)
    distributed.init_process_group(
        backend,
        init_method=f"file://{store}",
        rank=rank,
        world_size=rank_counts[-1],
        timeout=dt.timedelta(seconds=timeout_s),
    )
    groups = {count: distributed.new_group(list(range(count))) for count in rank_counts}
    loops_give_way()
    pipe.send_bytes(pickle.dumps((True, None)))
    while True:
        try:
            message = pipe.recv_bytes()
        except EOFError:
            return
        try:
            ranks, job, arguments = pickle.loads(message)  # noqa: S301 - the parent's pipe
            answer = (True, job(rank, groups[ranks], *arguments))
        except Exception:  # noqa: BLE001 - whatever a subject raises is reported by the parent
            answer = (False, traceback.format_exc())
        pipe.send_bytes(pickle.dumps(answer))
