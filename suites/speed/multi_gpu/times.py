"""How long each all-reduce takes, and the work of each rank by itself, with one clock in the same processes."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from harness.collective import get_codec, ring_bytes
from harness.collective.backends.choice import choose_backend
from harness.collective.candidate import ALGORITHMS
from harness.collective.messages import MessageFormat
from harness.performance.measurements import Measurement
from harness.performance.model import WIDTH
from suites.ranks.pool import Pool
from suites.ranks.timing import PLAIN, UNTIMED_ROUNDS, compare, message, now

DTYPE = torch.bfloat16


@dataclass(frozen=True, kw_only=True)
class Timed:
    """One contender's time for one message.

    Attributes:
        ranks: N.
        bytes: Of each rank's message, bf16.
        contender: The plain all-reduce, or ``codec/algorithm``.
        seconds: Median over rounds of the slowest rank's time.
        over_plain: Median over rounds of the ratio to the plain all-reduce's.
        bus_bytes_per_second: ``2 (N - 1) / N`` times the bytes, over the time: a plain ring's traffic.
    """

    ranks: int
    bytes: int
    contender: str
    seconds: float
    over_plain: float
    bus_bytes_per_second: float


def tokens_of(size: int) -> int:
    """The rows of a message of ``size`` bytes."""
    return size // (DTYPE.itemsize * WIDTH)


def all_reduces(pool: Pool, ranks: int, sizes: Sequence[int], rounds: int, codecs: Sequence[str]) -> list[Timed]:
    """Times the plain all-reduce and every codec and algorithm, in turn.

    Raises:
        WorkerError: A call hung or failed.
    """
    names = [PLAIN, *(f"{codec}/{algorithm}" for codec in codecs for algorithm in ALGORITHMS)]
    timed = []
    for size in sizes:
        timings = compare(pool, ranks, names, (tokens_of(size), WIDTH), rounds)
        for name, timing in timings.items():
            one = Timed(
                ranks=ranks,
                bytes=size,
                contender=name,
                seconds=timing.seconds,
                over_plain=timing.over_plain,
                bus_bytes_per_second=ring_bytes((tokens_of(size), WIDTH), ranks) / timing.seconds,
            )
            timed.append(one)
    return timed


def local_work(pool: Pool, ranks: int, sizes: Sequence[int], rounds: int, codecs: Sequence[str]) -> list[Measurement]:
    """Times what each rank does between the exchanges; medians over rounds, of the slowest rank.

    Raises:
        WorkerError: An operation hung or failed.
    """
    found = []
    for size in sizes:
        by_rank = pool.run(ranks, local_seconds, pool.device, rounds, codecs, tokens_of(size))
        found += [max(same, key=lambda one: one.microseconds) for same in zip(*by_rank, strict=True)]
    return found


def local_seconds(  # noqa: PLR0917 - the pool passes arguments by position
    rank: int, group: distributed.ProcessGroup, device: str, rounds: int, codecs: Sequence[str], tokens: int
) -> list[Measurement]:
    """This rank's times of every codec's operations, in the model's names for them."""
    x = message(rank, (tokens, WIDTH)).to(device)
    ranks = distributed.get_world_size(group)
    return [measured for codec in codecs for measured in _of_codec(codec, x, ranks, rounds)]


def _of_codec(name: str, x: Tensor, ranks: int, rounds: int) -> list[Measurement]:
    codec, worker = get_codec(name), choose_backend(x)
    whole = MessageFormat(codec, len(x), WIDTH, DTYPE)
    stripe = MessageFormat(codec, -(-len(x) // ranks), WIDTH, DTYPE)
    gathered, stripes, summed = whole.empty(ranks, x.device), stripe.empty(ranks, x.device), stripe.empty(1, x.device)
    total = torch.empty_like(x)

    def quantize(to: Tensor = gathered[0]) -> None:
        with whole.writing(to) as parts:
            worker.encode(codec, x, parts)

    def sum_requantize() -> None:
        with stripe.writing(summed[0]) as parts:
            worker.decode_sum_encode(codec, stripe.parts(stripes), WIDTH, DTYPE, parts)

    for target in gathered:
        quantize(target)
    own = x[: -(-len(x) // ranks)]
    for target in stripes:
        with stripe.writing(target) as parts:
            worker.encode(codec, own, parts)
    plain, encoded, part = x.nbytes, gathered[0].nbytes, summed.nbytes
    operations: list[tuple[str, int, int, Callable[[], None]]] = [
        ("quantize", 1, plain + encoded, quantize),
        (
            "dequantize-sum",
            ranks,
            ranks * encoded + plain,
            lambda: worker.decode_sum(codec, whole.parts(gathered), total),
        ),
        ("sum-requantize", ranks, (ranks + 1) * part, sum_requantize),
        ("dequantize-sum", 1, encoded + plain, lambda: worker.decode_sum(codec, whole.parts(gathered[:1]), total)),
    ]
    return [
        Measurement(
            operation=operation,
            codec=name,
            backend=worker.name,
            ranks=count,
            tokens=len(x),
            width=WIDTH,
            microseconds=_median(work, x, rounds) * 1e6,
            bytes=size,
        )
        for operation, count, size, work in operations
    ]


def _median(work: Callable[[], None], x: Tensor, rounds: int) -> float:
    times = []
    for _ in range(rounds + UNTIMED_ROUNDS):
        start = now(x)
        work()
        times.append(now(x) - start)
    return statistics.median(times[UNTIMED_ROUNDS:])
