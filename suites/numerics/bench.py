"""Speed of the bundled collective over gloo on the CPU: ``python -m suites.numerics.bench``.

Ratios within one run: every contender is timed once in every round, next to the others, by one thread a rank.
"""

import argparse
from collections.abc import Sequence

from harness.collective import ring_bytes, wire_bytes
from suites.numerics import bench_cuda
from suites.numerics.cluster import Cluster
from suites.numerics.paper import publish, table
from suites.numerics.timing import NAIVE_FP32, NAIVE_UPSTREAM, PLAIN, Timing, compare

NAMES = (PLAIN, "int8_token/one_shot", "int8_token/two_shot", NAIVE_UPSTREAM, NAIVE_FP32)

SIZES = ("512x576", "2048x4096", "8192x1024")

HEAD = ["ranks", "T x H", "all-reduce", "MB sent a rank", "ms", "over plain", "over int8_token/one_shot"]


def rows(ranks: int, shape: tuple[int, int], timings: dict[str, Timing]) -> list[list[str]]:
    """A line per contender."""
    ours = timings["int8_token/one_shot"]
    return [
        [
            str(ranks),
            f"{shape[0]} x {shape[1]}",
            name,
            f"{sent(name, shape, ranks) / 1e6:.2f}",
            f"{timing.seconds * 1e3:.1f}",
            f"{timing.over_plain:.2f}",
            f"{timing.seconds / ours.seconds:.2f}",
        ]
        for name, timing in timings.items()
    ]


def sent(name: str, shape: tuple[int, int], ranks: int) -> float:
    """Bytes a rank sends, by the model that the suite holds implementations to."""
    if name == PLAIN:
        return ring_bytes(shape, ranks)
    codec, _, algorithm = name.partition("/") if "/" in name else ("int8_token", "", "one_shot")
    return wire_bytes(shape, ranks, codec=codec, algorithm=algorithm)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table and writes it to reports/."""
    parser = argparse.ArgumentParser(prog="python -m suites.numerics.bench", description=__doc__)
    parser.add_argument(
        "--device", default="cpu", choices=("cpu", "cuda"), help="cuda: the kernels on one GPU (default: cpu)"
    )
    parser.add_argument("--ranks", default="2", help="rank counts, such as 2,4 (default: 2)")
    parser.add_argument(
        "--sizes", default=",".join(SIZES), help=f"T x H of bf16 messages (default: {','.join(SIZES)})"
    )
    parser.add_argument("--rounds", type=int, default=9, help="how often each is timed (default: 9)")
    chosen = parser.parse_args(arguments)
    if chosen.device == "cuda":
        return bench_cuda.main()
    counts = [int(count) for count in chosen.ranks.split(",")]
    lines = []
    with Cluster(counts) as cluster:
        for ranks in counts:
            for size in chosen.sizes.split(","):
                tokens, width = (int(number) for number in size.split("x"))
                timings = compare(cluster, ranks, NAMES, (tokens, width), chosen.rounds)
                lines += rows(ranks, (tokens, width), timings)
    title = (
        f"# All-reduce of bf16 messages over gloo and loopback, one thread a rank, medians of {chosen.rounds} rounds"
    )
    publish("bench", f"{title}\n\n{table(HEAD, lines)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
