"""The kernels without a GPU: in Triton's interpreter, in a process of its own, against the codecs on the CPU.

A GPU's own arithmetic and compiler are tested in test_cuda_backend.py. Not in bf16: the interpreter cuts it off.
"""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from harness.collective import get_codec
from harness.collective.backends.cuda import _form
from harness.collective.scratch import Scratch

SHAPES = ((1, 1), (7, 67), (3, 258))


def differing(name: str, shape: tuple[int, int], dtype: torch.dtype) -> list[str]:
    """The steps whose bits aren't the codec's own."""
    from harness.collective.kernels import launch  # noqa: PLC0415 - TRITON_INTERPRET comes first

    codec = get_codec(name)
    form = _form(codec)
    messages = torch.randn(3, *shape, generator=torch.Generator().manual_seed(shape[1])).to(dtype)
    encoded = [codec.encode(x, dtype) for x in messages]
    gathered = tuple(torch.stack(parts) for parts in zip(*encoded, strict=True))
    total = codec.decode_sum(gathered, shape[1], dtype, Scratch())
    out, again, rounded = encoding_of(encoded[0]), encoding_of(encoded[0]), torch.empty(shape, dtype=dtype)
    launch.encode(messages[0], *out, form)
    launch.decode_sum(*gathered, rounded, form)
    launch.decode_sum_encode(*gathered, *again, shape[1], form)
    same = {
        "encode": all(map(torch.equal, out, encoded[0])),
        "decode_sum": torch.equal(rounded, total.to(dtype)),
        "decode_sum_encode": all(map(torch.equal, again, codec.encode(total, dtype))),
    }
    return [step for step, equal in same.items() if not equal]


def encoding_of(parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(torch.full_like(part, 1) for part in parts)


@pytest.mark.parametrize("name", ["int8_group32", "int6_group32", "int6_hadamard", "int4_hadamard"])
def test_kernels_give_the_bits_of_the_cpu(name: str) -> None:
    pytest.importorskip("triton", reason="the kernels need Triton")
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(["", str(Path(__file__).resolve().parents[2])])
    command = [sys.executable, "-m", "tests.collective.test_kernels_interpreted", name]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == ""


if __name__ == "__main__":
    # The launches choose a device first, and the interpreter has none.
    torch.cuda.device = lambda _: contextlib.nullcontext()  # type: ignore[assignment, misc]
    for own_shape in SHAPES:
        for own_dtype in (torch.float16, torch.float32):
            for step in differing(sys.argv[1], own_shape, own_dtype):
                sys.stdout.write(f"{step} of {own_shape} in {own_dtype}\n")
