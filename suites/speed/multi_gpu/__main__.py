"""The real collective on several GPUs, in one command: ``python -m suites.speed.multi_gpu``.

1. ``conformance``: the conformance suite over NCCL groups of each rank count (pytest, as ``nox -s numerics`` has it).
2. ``calls``: ten thousand calls of mixed sizes, codecs and algorithms: none hangs, all ranks get the same bits.
3. ``timings``: every codec, one-shot and two-shot, against NCCL's own all-reduce from 64 KiB to 256 MiB, in turn:
   medians of the slowest rank's time, and the bus bandwidth that a plain all-reduce of that time would have. Then the
   work of each rank by itself, and what the model of the whole predicts with its link as measured.

NVLink multicast is left off, unless the environment says otherwise. A part that breaks leaves the others to run, and
is in the report. Conformance and calls ran over two GPUs (docs/cuda.md), the timings did not.
``--backend gloo --device cpu`` tries the program itself.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version

import torch

from harness.collective import codec_names
from harness.performance.links import LINKS
from harness.performance.measurements import Measurement
from suites.publish import Marked, Section, publish
from suites.ranks.pool import COMPILING_TIMEOUT_S, WITHOUT_MULTICAST, Pool, WorkerError, multicast_off
from suites.speed.multi_gpu.calls import CALLS_A_JOB, CallsRun, refused, without_hanging
from suites.speed.multi_gpu.link import Fit, Local, fit_in_words, fit_plain, measured_link, predict
from suites.speed.multi_gpu.times import Timed, all_reduces, local_work

PARTS = ("conformance", "calls", "timings")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to try, on what."""

    backend: str
    device: str
    wanted: tuple[int, ...]
    ranks: tuple[int, ...]
    """Those of ``wanted`` for which there are GPUs."""
    parts: tuple[str, ...]
    seeds: tuple[int, ...]
    largest: int
    rounds: int

    @property
    def sizes(self) -> list[int]:
        """Bytes: 64 KiB and on by factors of four."""
        return [1 << power for power in range(16, 64, 2) if 1 << power <= self.largest]


@dataclass(kw_only=True)
class Found:
    """What a run has found; None or empty for what it did not try."""

    conforms: bool | None = None
    refused: list[str] = field(default_factory=list)
    """Codecs that the device's backend does not do."""
    calls: list[CallsRun] = field(default_factory=list)
    timed: list[Timed] = field(default_factory=list)
    kernels: dict[int, list[Measurement]] = field(default_factory=dict)
    """By the rank count of the group that was up."""
    fits: dict[int, Fit] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    """Why something is missing."""

    @property
    def passed(self) -> bool:
        """Whether everything that was tried is as it should be."""
        return self.conforms is not False and not self.broken and not any(calls.fault for calls in self.calls)

    def predicted(self, one: Timed) -> float | None:
        """The model's seconds for what was timed, its link as measured; None where that can't be said."""
        if one.ranks not in self.fits:
            return None
        kernels = Local(tuple(self.kernels[one.ranks]))
        return predict(one, measured_link(one.ranks, self.fits[one.ranks]), kernels)


def conformance(options: Options) -> bool:
    """Whether the suite passes."""
    ranks = ",".join(map(str, options.ranks))
    chosen = [f"--device={options.device}", f"--backend={options.backend}", f"--ranks={ranks}"]
    command = [sys.executable, "-m", "pytest", "-q", "suites/numerics/test_conformance.py", *chosen]
    return subprocess.run(command, check=False).returncode == 0


def find(options: Options) -> Found:
    """Runs the parts that were chosen."""
    found = Found(conforms=conformance(options) if "conformance" in options.parts else None)
    if not {"calls", "timings"} & set(options.parts):
        return found
    with Pool(options.ranks, options.device, options.backend, COMPILING_TIMEOUT_S) as pool:
        try:
            found.refused = pool.run(options.ranks[0], refused, options.device)[0]
        except WorkerError as error:
            found.broken.append(f"No call came back: {error}")
            return found
        codecs = [codec for codec in codec_names() if codec not in found.refused]
        for ranks in options.ranks:
            if "calls" in options.parts:
                found.calls.append(without_hanging(pool, ranks, options.seeds, codecs))
            if "timings" in options.parts:
                measure(pool, options, ranks, codecs, found)
    return found


def measure(pool: Pool, options: Options, ranks: int, codecs: Sequence[str], found: Found) -> None:
    """Times one rank count, and fits the model's link to it."""
    try:
        found.timed += all_reduces(pool, ranks, options.sizes, options.rounds, codecs)
        found.kernels[ranks] = local_work(pool, ranks, options.sizes, options.rounds, codecs)
    except WorkerError as error:
        found.broken.append(f"N = {ranks}: the timings are not complete: {error}")
        return
    if len(options.sizes) > 1:
        found.fits[ranks] = fit_plain(found.timed, ranks)


def notes(options: Options, found: Found) -> list[str]:
    """What the report says before its table, a paragraph each."""
    counts = ", ".join(map(str, options.ranks))
    said = (
        [] if found.conforms is None else [f"Conformance, N = {counts}: {'passed' if found.conforms else 'FAILED'}."]
    )
    said += [str(calls) for calls in found.calls]
    said += [f"FAILED. {text}" for text in found.broken]
    said += [f"N = {ranks}: not run, too few GPUs." for ranks in options.wanted if ranks not in options.ranks]
    said += [f"Not run: {part}." for part in PARTS if part not in options.parts]
    if found.refused:
        said.append(f"Not among the calls and timings, since this device's backend refuses them: {found.refused}.")
    return said


def timings(options: Options, found: Found) -> Section:
    """A line for each rank count, size and contender."""
    rows = []
    for one in found.timed:
        predicted = found.predicted(one)
        cells = [
            *(str(one.ranks), str(one.bytes >> 10), one.contender, f"{one.seconds * 1e6:.1f}"),
            *(f"{one.over_plain:.2f}", f"{one.bus_bytes_per_second / 1e9:.3g}"),
            *((f"{predicted * 1e6:.1f}", f"{one.seconds / predicted:.2f}") if predicted else ("-", "-")),
        ]
        rows.append([Marked(cell) for cell in cells])
    head = ["N", "KiB", "all-reduce", "us", "over plain", "bus GB/s", "model us", "over model"]
    stated = LINKS if options.backend == "nccl" else ()
    words = "\n\n".join(fit_in_words(ranks, fit, stated) for ranks, fit in found.fits.items())
    return Section(title="Times, and the model with its link as measured", words=words, head=head, rows=rows)


def record(options: Options, found: Found) -> dict[str, object]:
    """The report for programs. Times in seconds, of kernels in microseconds."""
    on_gpus = options.device == "cuda"
    return {
        "passed": found.passed,
        "backend": options.backend,
        "devices": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        if on_gpus
        else [],
        "versions": {
            "torch": str(torch.__version__),
            "cuda": torch.version.cuda,
            "nccl": list(torch.cuda.nccl.version()) if on_gpus else None,  # type: ignore[no-untyped-call]
            "triton": _version("triton"),
        },
        "environment": {name: os.environ.get(name) for name in WITHOUT_MULTICAST},
        "options": asdict(options),
        "conformance": found.conforms,
        "refused": found.refused,
        "broken": found.broken,
        "calls": [asdict(calls) for calls in found.calls],
        "timings": [{**asdict(one), "model_seconds": found.predicted(one)} for one in found.timed],
        "links": [{"ranks": ranks, **asdict(fit)} for ranks, fit in found.fits.items()],
        "kernels": [
            {"group": ranks, **asdict(kernel)} for ranks, kernels in found.kernels.items() for kernel in kernels
        ],
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def parse(arguments: Sequence[str] | None) -> Options:
    """Reads the command line; ends the process with what is wrong with it."""
    parser = argparse.ArgumentParser(prog="python -m suites.speed.multi_gpu")
    parser.add_argument("--backend", default="nccl", choices=("nccl", "gloo"))
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument(
        "--ranks", default="2,4,8", help="rank counts; those beyond the GPUs there are left out, and said so"
    )
    parser.add_argument("--parts", default=",".join(PARTS), help=f"any of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--calls", type=int, default=10_000, help=f"in jobs of {CALLS_A_JOB}, a seed each")
    parser.add_argument("--seed", type=int, help="the calls of this seed only, as a failure names it")
    parser.add_argument(
        "--largest", type=int, default=1 << 28, help="bytes of the largest message (default: 256 MiB)"
    )
    parser.add_argument("--rounds", type=int, default=15)
    chosen = parser.parse_args(arguments)
    counts, parts = chosen.ranks.split(","), tuple(chosen.parts.split(","))
    if any(not count.isdigit() or int(count) < 2 for count in counts):
        parser.error(f"--ranks takes numbers from 2 on, such as 2,4, not {chosen.ranks!r}")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"--parts takes {', '.join(PARTS)}, not {', '.join(sorted(unknown))}")
    if min(chosen.calls, chosen.rounds) < 1 or chosen.largest < 1 << 16:
        parser.error("--calls and --rounds take numbers from 1 on, --largest 65536 and more")
    if chosen.backend == "nccl" and chosen.device != "cuda":
        parser.error("--backend nccl needs --device cuda; on a CPU use --backend gloo")
    if chosen.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda needs NVIDIA GPUs and a CUDA build of torch; torch sees no GPU here")
    wanted = tuple(map(int, counts))
    possible = torch.cuda.device_count() if chosen.backend == "nccl" else max(wanted)
    ranks = tuple(count for count in wanted if count <= possible)
    if not ranks:
        parser.error(f"NCCL needs a GPU a rank, and torch sees {possible}; try the program with --backend gloo")
    return Options(
        backend=chosen.backend,
        device=chosen.device,
        wanted=wanted,
        ranks=ranks,
        parts=parts,
        seeds=tuple(range(-(-chosen.calls // CALLS_A_JOB))) if chosen.seed is None else (chosen.seed,),
        largest=chosen.largest,
        rounds=chosen.rounds,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the parts, prints a report and writes it to reports/; 1 where something broke."""
    options = parse(arguments)
    multicast_off()
    found = find(options)
    title = f"# The collective over {options.backend} on {options.device}, medians of {options.rounds} rounds"
    sections = [timings(options, found)] if found.timed else []
    publish(
        "multi-gpu",
        "\n\n".join([title, *notes(options, found)]),
        data=record(options, found),
        sections=sections,
    )
    return 0 if found.passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
