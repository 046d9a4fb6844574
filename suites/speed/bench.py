"""Speed of the bundled collective over gloo on the CPU: ``python -m suites.speed.bench``.

Ratios within one run: every contender is timed once in every round, next to the others, by one thread a rank.
The bars are for two ranks: ``int8_token`` one-shot takes at most 2.5 times as long as gloo's plain all-reduce,
and both naive versions take at least 2.5 times as long as it.
"""

import argparse
import os
from collections.abc import Mapping, Sequence

from harness.collective import ring_bytes, wire_bytes
from suites.publish import Marked, Section, publish
from suites.ranks.pool import Pool
from suites.ranks.timing import PLAIN, Spread, Timing, compare, sent_bytes, spread
from suites.speed import gpu_kernels

ONE_SHOT, TWO_SHOT = "int8_token/one_shot", "int8_token/two_shot"
NAIVE_UPSTREAM, NAIVE_FP32 = "suites.implementations.naive:upstream", "suites.implementations.naive:fp32_sum"
NAIVE = {NAIVE_UPSTREAM: "naive, upstream's arithmetic", NAIVE_FP32: "naive, fp32 sum"}
"""What the report calls them."""

BAR = 2.5
BAR_RANKS = 2

SIZES = ("512x576", "512x4096", "2048x4096", "8192x1024")
FULL = tuple(f"{tokens}x{width}" for tokens in (512, 2048, 8192) for width in (576, 1024, 4096, 8192))

SMALL, SMALL_ROUNDS = 2**22, 4
"""Short calls are more at the mercy of the scheduler, and quickly repeated."""

TIMES = ["ranks", "T x H", "plain", "one-shot", "two-shot", "naive upstream", "naive fp32"]
RATIOS = ["ranks", "T x H", "one-shot / plain", "two-shot / plain", "upstream / one-shot", "fp32 / one-shot", "bar"]
BYTES = ["ranks", "T x H", "bf16 ring", "one-shot", "two-shot", "one-shot / ring", "two-shot / ring"]

TITLES = {
    "ratios": "Ratios",
    "milliseconds": "Milliseconds",
    "megabytes": "Megabytes sent by a rank: counted, and equal to the model",
}

JOB_TIMEOUT_S = 1800.0
"""Of all rounds of one size. A round of 8192 x 8192 takes seconds."""

Shape = tuple[int, int]
Timings = Mapping[str, Timing]


def times(timings: Timings) -> list[str]:
    """Median milliseconds of each contender."""
    names = (PLAIN, ONE_SHOT, TWO_SHOT, *NAIVE)
    return [f"{timings[name].seconds * 1e3:.1f}" if name in timings else "not run" for name in names]


def ratios(ranks: int, timings: Timings) -> list[str]:
    """Each ratio's median and quartiles, and whether the bar is met."""
    ours, plain = timings[ONE_SHOT].rounds, timings[PLAIN].rounds
    found = [spread(ours, plain), spread(timings[TWO_SHOT].rounds, plain)]
    naive = {name: spread(timings[name].rounds, ours) for name in NAIVE if name in timings}
    cells = [*map(_words, found), *(_words(naive[name]) if name in naive else "not run" for name in NAIVE)]
    return [*cells, verdict(found[0], naive) if ranks == BAR_RANKS else "-"]


def verdict(over_plain: Spread, naive: Mapping[str, Spread]) -> str:
    """Whether the medians meet both bars, and which not."""
    missed = [f"{over_plain.median:.2f} x plain"] if over_plain.median > BAR else []
    missed += [
        f"only {ratio.median:.2f} x faster than {NAIVE[name]}" for name, ratio in naive.items() if ratio.median < BAR
    ]
    if missed:
        return f"missed: {', '.join(missed)}"
    return "met" if len(naive) == len(NAIVE) else "met, as far as run"


def _words(ratio: Spread) -> str:
    return f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"


def sent(pool: Pool, ranks: int, shape: Shape) -> list[str]:
    """Megabytes a rank sends, by the model, and the ratios to plain bf16.

    Raises:
        ValueError: What really passes through torch.distributed is not what the model says.
    """
    ring = ring_bytes(shape, ranks)
    model = {name: wire_bytes(shape, ranks, algorithm=name.partition("/")[2]) for name in (ONE_SHOT, TWO_SHOT)}
    for name, wanted in {PLAIN: ring, **model}.items():
        counted = pool.run(ranks, sent_bytes, name, shape)
        if set(counted) != {wanted}:
            raise ValueError(f"{name}, {ranks} ranks, {shape}: the model says {wanted} bytes, ranks sent {counted}")
    sizes = [f"{size / 1e6:.3f}" for size in (ring, *model.values())]
    return [*sizes, *(f"{size / ring:.4f}" for size in model.values())]


def contenders(ranks: int, shape: Shape) -> list[str]:
    """All five, or those that fit into memory: the naive ones hold every rank's message in fp32, twice."""
    ours = [PLAIN, ONE_SHOT, TWO_SHOT]
    needed = ranks * (8 + 9 * ranks) * shape[0] * shape[1]
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return [*ours, *NAIVE] if needed < free else ours


def words(ranks: Sequence[int], rounds: int, load: tuple[float, float]) -> str:
    """What the reader has to know about the numbers."""
    cores = len(os.sched_getaffinity(0))
    lines = [
        (
            f"bf16 messages over gloo and loopback, one thread a rank. In each of {rounds} rounds (below {SMALL} "
            f"elements {SMALL_ROUNDS} times as many) each all-reduce runs once. Milliseconds are medians; ratios are "
            "taken within a round: medians, with the first and third quartile."
        ),
        f"Bar, for {BAR_RANKS} ranks: one-shot at most {BAR} x plain, and {BAR} x faster than the naive versions.",
        (
            f"Load average {load[0]:.1f} before and {load[1]:.1f} after, on {cores} cores: "
            "where it is above the number of ranks, other programs were running too."
        ),
    ]
    if over := [str(count) for count in ranks if count > cores]:
        lines.append(f"{' and '.join(over)} ranks share {cores} cores: what they show is order of magnitude only.")
    return "\n".join(lines)


def _style(cell: str) -> str:
    return "green" if cell == "met" else "red" if cell.startswith("missed") else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the tables and writes them to reports/."""
    parser = argparse.ArgumentParser(prog="python -m suites.speed.bench", description=__doc__)
    parser.add_argument(
        "--device", default="cpu", choices=("cpu", "cuda"), help="cuda: the kernels on one GPU (default: cpu)"
    )
    parser.add_argument("--ranks", default="2,4", help="rank counts (default: 2,4)")
    parser.add_argument("--sizes", help=f"T x H of the messages (default: {','.join(SIZES)})")
    parser.add_argument("--full", action="store_true", help=f"all of {','.join(FULL)}")
    parser.add_argument("--rounds", type=int, default=9, help="how often each is timed (default: 9)")
    chosen = parser.parse_args(arguments)
    if chosen.device == "cuda":
        return gpu_kernels.main()
    counts = [int(count) for count in chosen.ranks.split(",")]
    sizes = chosen.sizes.split(",") if chosen.sizes else FULL if chosen.full else SIZES
    shapes = [(int(tokens), int(width)) for tokens, width in (size.split("x") for size in sizes)]
    before = os.getloadavg()[0]
    found: dict[str, list[list[str]]] = {"ratios": [], "milliseconds": [], "megabytes": []}
    with Pool(counts, timeout_s=JOB_TIMEOUT_S) as pool:
        for ranks in counts:
            for shape in shapes:
                rounds = chosen.rounds * (SMALL_ROUNDS if shape[0] * shape[1] < SMALL else 1)
                timings = compare(pool, ranks, contenders(ranks, shape), shape, rounds)
                start = [str(ranks), f"{shape[0]} x {shape[1]}"]
                found["ratios"].append([*start, *ratios(ranks, timings)])
                found["milliseconds"].append([*start, *times(timings)])
                found["megabytes"].append([*start, *sent(pool, ranks, shape)])
    text = f"# All-reduce on the CPU\n\n{words(counts, chosen.rounds, (before, os.getloadavg()[0]))}"
    heads = {"ratios": RATIOS, "milliseconds": TIMES, "megabytes": BYTES}
    data = {name: [dict(zip(heads[name], row, strict=True)) for row in rows] for name, rows in found.items()}
    sections = [
        Section(
            title=TITLES[name], head=heads[name], rows=[[Marked(cell, _style(cell)) for cell in row] for row in rows]
        )
        for name, rows in found.items()
    ]
    publish("bench", text, data=data, sections=sections)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
