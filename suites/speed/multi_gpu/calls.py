"""Thousands of calls of mixed sizes, codecs and algorithms: none may hang, and all ranks must get the same bits."""

import os
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, distributed

from harness.collective import MissingBackendError, codec_names, quant_all_reduce
from harness.collective.candidate import ALGORITHMS
from suites.ranks.bits import bits
from suites.ranks.pool import Pool, WorkerError

CALLS_A_JOB = 100
ROWS = (0, 1, 7, 64, 513)
WIDTHS = (64, 67, 576, 4096)


@dataclass(frozen=True, kw_only=True)
class Call:
    """One of them."""

    shape: tuple[int, int]
    codec: str
    algorithm: str

    def __str__(self) -> str:
        return f"{self.codec}/{self.algorithm}, {self.shape[0]} x {self.shape[1]}"


@dataclass(frozen=True, kw_only=True)
class CallsRun:
    """How they went with one rank count.

    Attributes:
        ranks: N.
        calls: How many ended.
        fault: What went wrong, and where; empty where nothing did.
    """

    ranks: int
    calls: int
    fault: str = ""

    def __str__(self) -> str:
        return f"N = {self.ranks}: {self.fault or f'{self.calls} calls, none hung, all ranks agree'}"


def mixed_calls(seed: int, codecs: Sequence[str]) -> list[Call]:
    """The calls of one job, the same on every rank."""
    mixed = random.Random(seed)  # noqa: S311 - every rank has to draw the same sizes
    return [
        Call(
            shape=(mixed.choice(ROWS), mixed.choice(WIDTHS)),
            codec=mixed.choice(list(codecs)),
            algorithm=mixed.choice(ALGORITHMS),
        )
        for _ in range(CALLS_A_JOB)
    ]


def message(rank: int, seed: int, number: int, shape: tuple[int, int]) -> Tensor:
    """One rank's message of one call, bf16, on the CPU."""
    generator = torch.Generator().manual_seed((seed * CALLS_A_JOB + number) * 64 + rank)
    return torch.randn(shape, generator=generator).bfloat16()


def refused(_rank: int, group: distributed.ProcessGroup, device: str) -> list[str]:
    """The codecs that this device's backend does not do, such as FP8 on older GPUs; by trying each."""
    missing = []
    for codec in codec_names():
        try:
            quant_all_reduce(torch.ones((2, 64), device=device, dtype=torch.bfloat16), group, codec=codec)
        except MissingBackendError:
            missing.append(codec)
    return missing


def digests(  # noqa: PLR0917 - the pool passes arguments by position
    rank: int, group: distributed.ProcessGroup, device: str, seed: int, codecs: Sequence[str], folder: str
) -> list[int]:
    """Makes the calls of one job; of each result the sum of its bits read as integers.

    Before each call its number goes to the file ``rank-N`` in ``folder``, where it outlives a rank that hangs.
    """
    sums = []
    with Path(folder, f"rank-{rank}").open("wb", buffering=0) as progress:
        for number, call in enumerate(mixed_calls(seed, codecs)):
            os.pwrite(progress.fileno(), b"%8d" % number, 0)
            x = message(rank, seed, number, call.shape).to(device)
            out = quant_all_reduce(x, group, codec=call.codec, algorithm=call.algorithm)
            # Waits for a GPU, so that no later call is blamed.
            sums.append(int(bits(out).long().sum()))
        os.pwrite(progress.fileno(), b"%8d" % CALLS_A_JOB, 0)
    return sums


def without_hanging(pool: Pool, ranks: int, seeds: Sequence[int], codecs: Sequence[str]) -> CallsRun:
    """Runs a job for each seed, up to the first in which something is wrong."""
    done = 0
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            try:
                first, *others = pool.run(ranks, digests, pool.device, seed, codecs, folder)
            except WorkerError as error:
                return CallsRun(ranks=ranks, calls=done, fault=_stopped(seed, ranks, codecs, Path(folder), error))
        for rank, other in enumerate(others, start=1):
            if other != first:
                number = next(
                    index for index, both in enumerate(zip(first, other, strict=True)) if len(set(both)) > 1
                )
                where = f"rank {rank} has other bits than rank 0 in {_named(seed, number, codecs)}"
                return CallsRun(ranks=ranks, calls=done, fault=f"FAILED: {where}")
        done += CALLS_A_JOB
    return CallsRun(ranks=ranks, calls=done)


def _stopped(seed: int, ranks: int, codecs: Sequence[str], folder: Path, error: WorkerError) -> str:
    """Where each rank was when a job hung or failed."""
    where = []
    for rank in range(ranks):
        try:
            number = int((folder / f"rank-{rank}").read_bytes())
        except (OSError, ValueError):
            where.append(f"rank {rank} had not begun")
            continue
        ended = number == CALLS_A_JOB
        where.append(f"rank {rank} {'had ended' if ended else f'was in {_named(seed, number, codecs)}'}")
    return f"FAILED: hung or broke off with seed {seed}: {'; '.join(where)}. Once more: --seed {seed}. {error}"


def _named(seed: int, number: int, codecs: Sequence[str]) -> str:
    return f"call {number} of seed {seed} ({mixed_calls(seed, codecs)[number]})"
