"""The kernels without a GPU: in Triton's interpreter, in a process of its own, against the codecs on the CPU.

A GPU's own arithmetic and compiler are tested in test_cuda_backend.py. Not in bf16: the interpreter cuts it off.
"""

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
import torch
from torch import Tensor

from harness.collective import get_codec, spared_rows
from harness.collective.backends.cuda import _form
from harness.collective.scratch import Scratch

ROW_POWERS = "row_powers"
SHAPES = ((1, 1), (7, 67), (3, 258), (5, 144), (2, 384))


def differing(name: str, shape: tuple[int, int], dtype: torch.dtype) -> list[str]:
    """The steps whose bits aren't the codec's own."""
    from harness.collective.kernels import launch  # noqa: PLC0415 - TRITON_INTERPRET comes first

    codec = get_codec(name)
    form = _form(codec)
    messages = torch.randn(3, *shape, generator=torch.Generator().manual_seed(shape[1])).to(dtype)
    encoded = [codec.encode(x, dtype) for x in messages]
    stored, scales = (torch.stack(parts) for parts in zip(*encoded, strict=True))
    total = codec.decode_sum((stored, scales), shape[1], dtype, Scratch())
    rounded = torch.empty(shape, dtype=dtype)
    codes, code_scales = torch.ones_like(stored[0]), torch.ones_like(scales[0])
    again = torch.ones_like(stored[0]), torch.ones_like(scales[0])
    codec.decode_sum_encode((stored, scales), shape[1], dtype, again, Scratch())
    found = []
    launch.encode(messages[0], codes, code_scales, form)
    if not same((codes, code_scales), encoded[0]):
        found.append("encode")
    launch.decode_sum(stored, scales, rounded, form)
    if not torch.equal(rounded, total.to(dtype)):
        found.append("decode_sum")
    launch.decode_sum_encode(stored, scales, codes, code_scales, shape[1], form)
    if not same((codes, code_scales), again):
        found.append("decode_sum_encode")
    oddly_placed = torch.empty(stored.numel() + 1, dtype=stored.dtype)[1:].view_as(stored).copy_(stored)
    launch.decode_sum(oddly_placed, scales, rounded.zero_(), form)
    if not torch.equal(rounded, total.to(dtype)):
        found.append("decode_sum of what starts at an odd address,")
    return found


def same(ours: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(ours, expected, strict=True))


def differing_powers(shape: tuple[int, int], dtype: torch.dtype) -> list[str]:
    """The layouts in which a row's power isn't what decides on the CPU which rows are sent in full."""
    from harness.collective.kernels import launch  # noqa: PLC0415 - TRITON_INTERPRET comes first

    x = torch.randn(shape, generator=torch.Generator().manual_seed(shape[1])).to(dtype)
    x[-1] = 0
    x[0, -1] = 300
    found = []
    for layout, laid in (("rows", x), ("columns", x.t().contiguous().t())):
        powers = torch.ones(len(x))
        launch.row_powers(laid, powers)
        if not torch.equal(powers.nan_to_num(-1), spared_rows.row_powers(x).nan_to_num(-1)):
            found.append(f"row_powers, by {layout},")
    return found


@pytest.mark.parametrize("name", ["int8_group32", "int6_group32", "int6_hadamard", "int4_hadamard", ROW_POWERS])
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
    with mock.patch.object(torch.cuda, "device", contextlib.nullcontext):
        for own_shape in SHAPES:
            for own_dtype in (torch.float16, torch.float32):
                asked = sys.argv[1]
                found = (
                    differing_powers(own_shape, own_dtype)
                    if asked == ROW_POWERS
                    else differing(asked, own_shape, own_dtype)
                )
                for step in found:
                    sys.stdout.write(f"{step} of {own_shape} in {own_dtype}\n")
