"""Speed of the CUDA backend's kernels on one GPU: ``python -m suites.speed.bench --device cuda``.

The yardstick is a device-to-device copy, measured in the same run: bytes read plus bytes written over time.
A kernel's bytes are those it can't do without: each input read once, each result written once.
"""

import datetime as dt
from collections.abc import Iterator

import torch
from torch import Tensor

from harness.collective import get_codec
from harness.collective.backends.base import Backend
from harness.collective.backends.choice import choose_backend
from harness.collective.codec import Codec, Parts
from harness.collective.messages import MessageFormat
from harness.performance.measurements import Measurement, Run, to_json
from suites.publish import publish, table
from suites.speed.gpu_timing import Call, copy_microseconds, microseconds, sets_beyond_cache

SHAPES = ((8192, 4096), (8192, 5120), (512, 4096))
CODECS = ("int8_token", "int8_group128", "int8_group32", "fp8_e4m3_token", "int4_group32", "int8_hadamard")
RANKS = (2, 4, 8)
CONTROL = "upstream_bf16"
"""SGLang's arithmetic in torch's own operations."""
COPIES = (1 << 20, 1 << 22, 1 << 24, 1 << 26, 1 << 28, 1 << 29, 1_000_000_000)


def measure() -> Run:
    """Times all operations, codecs and shapes."""
    from suites.speed import gpu_ceilings  # noqa: PLC0415 - its kernels need Triton, this module's text doesn't

    return Run(
        device=torch.cuda.get_device_name(),
        torch=str(torch.__version__),
        triton=gpu_ceilings.triton_version(),
        date=f"{dt.datetime.now(dt.UTC):%Y-%m-%d}",
        copies={size: copy_microseconds(size) for size in COPIES},
        launch_microseconds=microseconds([gpu_ceilings.launch_nothing] * 50),
        fp32_per_second=gpu_ceilings.fp32_per_second(),
        measurements=tuple(_all_measurements()),
    )


def _all_measurements() -> Iterator[Measurement]:
    for shape in SHAPES:
        for name in CODECS:
            yield from _of_codec(name, "cuda", shape, RANKS)
        yield from _of_codec(CONTROL, "eager", shape, (4,))


def _of_codec(name: str, backend: str, shape: tuple[int, int], ranks: tuple[int, ...]) -> Iterator[Measurement]:
    codec, worker = get_codec(name), choose_backend(torch.empty(0, device="cuda"), backend)

    def measured(operation: str, count: int, calls: list[Call], size: int) -> Measurement:
        return Measurement(
            operation=operation,
            codec=name,
            backend=backend,
            ranks=count,
            tokens=shape[0],
            width=shape[1],
            microseconds=microseconds(calls),
            bytes=size,
        )

    plain = shape[0] * shape[1] * torch.bfloat16.itemsize
    encoded = shape[0] * codec.row_bytes(shape[1], torch.bfloat16)
    message = MessageFormat(codec, *shape, torch.bfloat16)
    sets = sets_beyond_cache(plain + encoded)
    inputs = [torch.randn(shape, device="cuda").bfloat16() for _ in range(sets)]
    messages = message.empty(sets, inputs[0].device)
    calls = [_quantizing(worker, codec, x, _own(message, own)) for x, own in zip(inputs, messages, strict=True)]
    yield measured("quantize", 1, calls, plain + encoded)
    for count in ranks:
        sets = sets_beyond_cache(count * encoded + plain)
        gathered = [messages.repeat(-(-count // len(messages)), 1)[:count] for _ in range(sets)]
        sums = [torch.empty_like(inputs[0]) for _ in gathered]
        calls = [
            _summing(worker, codec, message.parts(ranks_messages), out)
            for ranks_messages, out in zip(gathered, sums, strict=True)
        ]
        yield measured("dequantize-sum", count, calls, count * encoded + plain)
        again = message.empty(sets, inputs[0].device)
        calls = [
            _requantizing(worker, codec, message.parts(ranks_messages), shape[1], _own(message, own))
            for ranks_messages, own in zip(gathered, again, strict=True)
        ]
        yield measured("sum-requantize", count, calls, count * encoded + encoded)


def _own(message: MessageFormat, buffer: Tensor) -> Parts:
    """One message's parts, in the buffer itself: these shapes leave every part aligned."""
    return tuple(part[0] for part in message.parts(buffer.unsqueeze(0)))


def _quantizing(worker: Backend, codec: Codec, x: Tensor, out: Parts) -> Call:
    return lambda: worker.encode(codec, x, out)


def _summing(worker: Backend, codec: Codec, parts: Parts, out: Tensor) -> Call:
    return lambda: worker.decode_sum(codec, parts, out)


def _requantizing(worker: Backend, codec: Codec, gathered: Parts, width: int, out: Parts) -> Call:
    return lambda: worker.decode_sum_encode(codec, gathered, width, torch.bfloat16, out)


def of_copy(run: Run, one: Measurement) -> float:
    """The share of the copy's bandwidth that a kernel reaches."""
    return one.bytes / one.microseconds * 1e6 / run.copy_bytes_per_second


def over_launch_and_bytes(run: Run, one: Measurement) -> float:
    """A kernel's time in units of an empty launch plus its bytes at the copy's bandwidth."""
    return one.microseconds / (run.launch_microseconds + one.bytes / run.copy_bytes_per_second * 1e6)


def speedup(run: Run, shape: tuple[int, int], codec: str = "int8_token") -> float:
    """How much faster quantize and dequantize-sum at N = 4 are than upstream's arithmetic in eager torch."""

    def total(name: str) -> float:
        return sum(
            one.microseconds
            for one in run.measurements
            if (one.codec, one.tokens, one.width) == (name, *shape)
            and (one.operation, one.ranks) in {("quantize", 1), ("dequantize-sum", 4)}
        )

    return total(CONTROL) / total(codec)


def as_text(run: Run) -> str:
    """The run as Markdown: its yardsticks, a line for each measurement, the speed-ups."""
    yardsticks = (
        f"The fastest copy: {run.copy_bytes_per_second / 1e12:.3f} TB/s. Empty kernel in a graph: "
        f"{run.launch_microseconds:.2f} us. fp32: {run.fp32_per_second / 1e12:.1f} TFLOP/s, measured."
    )
    rows = [
        [
            f"{one.tokens} x {one.width}",
            f"{one.codec}{'' if one.backend == 'cuda' else f' ({one.backend})'}",
            one.operation if one.ranks == 1 else f"{one.operation}, N = {one.ranks}",
            f"{one.microseconds:.1f}",
            f"{one.bytes / 1e6:.1f}",
            f"{one.bytes / one.microseconds / 1e6:.2f}",
            f"{of_copy(run, one):.1%}",
            f"{over_launch_and_bytes(run, one):.2f}",
        ]
        for one in run.measurements
    ]
    head = ["T x H, bf16", "codec", "operation", "us", "MB", "TB/s", "of the copy", "over launch + bytes"]
    gains = ", ".join(f"{speedup(run, shape):.1f} times at {shape[0]} x {shape[1]}" for shape in SHAPES)
    return (
        f"{yardsticks}\n\n{table(head, rows)}\n\nint8_token's quantize and dequantize-sum at N = 4 together against "
        f"upstream's arithmetic in eager torch: faster {gains}.\n\n"
        f"{run.device}, torch {run.torch}, Triton {run.triton}, {run.date}"
    )


def main() -> int:
    """Measures, prints the table, and writes it and the numbers to reports/."""
    if not torch.cuda.is_available():
        raise SystemExit("--device cuda needs an NVIDIA GPU and a CUDA build of torch; torch sees no GPU here")
    run = measure()
    path = publish("bench-cuda", f"# Kernels of the CUDA backend\n\n{as_text(run)}")
    numbers = path.with_name("measurements.json")
    numbers.write_text(to_json(run), encoding="utf-8")
    print(f"and {numbers}; its plots: python -m suites.speed.model {numbers} --out {path.parent}")  # noqa: T201 - the program's output
    return 0
