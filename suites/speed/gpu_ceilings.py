"""What bounds any kernel on a GPU, measured: a launch that does nothing, and fp32 arithmetic. Needs Triton."""

import torch
import triton
import triton.language as tl

from suites.speed.gpu_timing import microseconds

_PROGRAMS, _ELEMENTS, _STEPS, _CHAINS = 132 * 32, 1024, 512, 4


def triton_version() -> str:
    """Triton's version."""
    return str(triton.__version__)


@triton.jit
def _nothing() -> None:
    pass


@triton.jit
def _multiply_and_add(out: tl.tensor, factor: tl.tensor, elements: tl.constexpr, steps: tl.constexpr) -> None:
    """Four independent chains, so that none waits for its own last result."""
    at = tl.arange(0, elements)
    a = at.to(tl.float32)
    b, c, d = a + 1, a + 2, a + 3
    for _ in range(steps):
        a = tl.fma(a, factor, a)
        b = tl.fma(b, factor, b)
        c = tl.fma(c, factor, c)
        d = tl.fma(d, factor, d)
    tl.store(out + tl.program_id(0) * elements + at, a + b + c + d)


def launch_nothing() -> None:
    """An empty kernel."""
    _nothing[(1,)]()


def fp32_per_second() -> float:
    """Operations a second in fused multiply-adds, which count two."""
    out = torch.empty(_PROGRAMS * _ELEMENTS, device="cuda")
    time = microseconds([lambda: _multiply_and_add[(_PROGRAMS,)](out, 1e-6, _ELEMENTS, _STEPS)] * 4)
    return 2 * _CHAINS * _STEPS * _PROGRAMS * _ELEMENTS / time * 1e6
