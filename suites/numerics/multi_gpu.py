"""The real collective on several GPUs, in one command: ``python -m suites.numerics.multi_gpu``.

1. The conformance suite over NCCL groups of each rank count (pytest, as ``nox -s numerics`` runs it).
2. Ten thousand calls of mixed sizes, codecs and algorithms: none hangs, all ranks get the same bits.
3. Every codec, one-shot and two-shot, against NCCL's own all-reduce from 64 KiB to 256 MiB, in turn: medians
   of the slowest rank's time, and the bus bandwidth that a plain all-reduce of that time would have,
   ``2 (N - 1) / N`` times the bytes over the time.

Not run on several GPUs. ``--backend gloo --device cpu`` tries the program itself.
"""

import argparse
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from harness.collective import codec_names, quant_all_reduce, ring_bytes
from suites.numerics.cluster import Cluster
from suites.numerics.jobs import bits
from suites.numerics.model import ALGORITHMS
from suites.numerics.paper import publish, table
from suites.numerics.timing import PLAIN, contender

WIDTH = 4096
CALLS_A_JOB = 100
"""A job that takes a minute is taken to hang."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to try, on what."""

    backend: str
    device: str
    ranks: tuple[int, ...]
    calls: int
    largest: int
    rounds: int

    @property
    def sizes(self) -> list[int]:
        """Bytes: 64 KiB and on by factors of four."""
        return [1 << power for power in range(16, 64, 2) if 1 << power <= self.largest]


def conformance(options: Options) -> bool:
    """Whether the suite passes."""
    ranks = ",".join(map(str, options.ranks))
    chosen = [f"--device={options.device}", f"--backend={options.backend}", f"--ranks={ranks}"]
    command = [sys.executable, "-m", "pytest", "-q", "suites/numerics/test_conformance.py", *chosen]
    return subprocess.run(command, check=False).returncode == 0


def digests(rank: int, group: distributed.ProcessGroup, device: str, seed: int, calls: int) -> list[int]:
    """Makes calls of mixed sizes; of each result the sum of its bits read as integers."""
    mixed = random.Random(seed)  # noqa: S311 - every rank has to draw the same sizes
    sums = []
    for call in range(calls):
        shape = (mixed.choice((0, 1, 7, 64, 513)), mixed.choice((64, 67, 576, 4096)))
        codec, algorithm = mixed.choice(codec_names()), mixed.choice(ALGORITHMS)
        generator = torch.Generator().manual_seed((seed * calls + call) * 64 + rank)
        x = torch.randn(shape, generator=generator).bfloat16().to(device)
        sums.append(int(bits(quant_all_reduce(x, group, codec=codec, algorithm=algorithm)).long().sum()))
    return sums


def without_hanging(cluster: Cluster, options: Options, ranks: int) -> str:
    """Runs the mixed calls; says how they went.

    Raises:
        WorkerError: A call hung or failed.
    """
    done = 0
    for seed in range(-(-options.calls // CALLS_A_JOB)):
        first, *others = cluster.run(ranks, digests, options.device, seed, CALLS_A_JOB)
        if any(other != first for other in others):
            return f"N = {ranks}: ranks differ among calls {done} to {done + CALLS_A_JOB}"
        done += CALLS_A_JOB
    return f"N = {ranks}: {done} calls, none hung, all ranks agree"


def seconds(
    rank: int, group: distributed.ProcessGroup, options: Options, names: list[str], tokens: int
) -> list[list[float]]:
    """This rank's times, ``[round][contender]``. Two untimed rounds come first."""
    x = torch.randn((tokens, WIDTH), generator=torch.Generator().manual_seed(rank)).bfloat16().to(options.device)
    contenders = [contender(name) for name in names]
    times = []
    for _ in range(options.rounds + 2):
        row = []
        for function in contenders:
            own = x.clone()
            distributed.barrier(group)
            _wait(own)
            start = time.perf_counter()
            function(own, group)
            _wait(own)
            row.append(time.perf_counter() - start)
        times.append(row)
    return times[2:]


def _wait(x: Tensor) -> None:
    if x.is_cuda:
        torch.cuda.synchronize()


def timings(cluster: Cluster, options: Options, ranks: int) -> list[list[str]]:
    """A line for each size and contender."""
    names = [PLAIN, *(f"{codec}/{algorithm}" for codec in codec_names() for algorithm in ALGORITHMS)]
    lines = []
    for size in options.sizes:
        tokens = size // (2 * WIDTH)
        by_rank = cluster.run(ranks, seconds, options, names, tokens)
        slowest = torch.tensor(by_rank, dtype=torch.float64).amax(dim=0)
        medians = [statistics.median(slowest[:, column].tolist()) for column in range(len(names))]
        for name, median in zip(names, medians, strict=True):
            bus = ring_bytes((tokens, WIDTH), ranks) / median
            numbers = [f"{median * 1e6:.1f}", f"{median / medians[0]:.2f}", f"{bus / 1e9:.1f}"]
            lines.append([str(ranks), f"{size >> 10}", name, *numbers])
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs all three, prints a report and writes it to reports/; 1 where something broke."""
    parser = argparse.ArgumentParser(prog="python -m suites.numerics.multi_gpu")
    parser.add_argument("--backend", default="nccl", choices=("nccl", "gloo"))
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument(
        "--ranks", default="2,4,8", help="rank counts; those beyond the GPUs there are left out, and said so"
    )
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument(
        "--largest", type=int, default=1 << 28, help="bytes of the largest message (default: 256 MiB)"
    )
    parser.add_argument("--rounds", type=int, default=15)
    chosen = parser.parse_args(arguments)
    wanted = tuple(int(count) for count in chosen.ranks.split(","))
    possible = torch.cuda.device_count() if chosen.backend == "nccl" else max(wanted)
    ranks = tuple(count for count in wanted if count <= possible)
    if not ranks:
        parser.error(f"NCCL needs a GPU a rank, and torch sees {possible}; try the program with --backend gloo")
    options = Options(
        backend=chosen.backend,
        device=chosen.device,
        ranks=ranks,
        calls=chosen.calls,
        largest=chosen.largest,
        rounds=chosen.rounds,
    )
    passed = conformance(options)
    with Cluster(ranks, options.device, options.backend) as cluster:
        calls = [without_hanging(cluster, options, count) for count in ranks]
        lines = [line for count in ranks for line in timings(cluster, options, count)]
    head = ["N", "KiB of bf16", "all-reduce", "us", "over plain", "bus GB/s"]
    notes = [f"Conformance over {ranks} ranks: {'passed' if passed else 'FAILED'}.", *calls]
    notes += [f"N = {count}: not run, {possible} GPUs" for count in wanted if count not in ranks]
    title = f"# {options.backend} on {options.device}, medians of {options.rounds} rounds"
    publish("multi-gpu", f"{title}\n\n" + "\n\n".join([*notes, table(head, lines)]))
    return 0 if passed and not any("differ" in line for line in calls) else 1


if __name__ == "__main__":
    raise SystemExit(main())
