"""The CUDA backend's kernels against the codecs' own operations on the CPU, bit for bit."""

import sys

import pytest
import torch
from torch import Tensor

from harness.collective import (
    MissingBackendError,
    codec_names,
    get_codec,
    kernels,
    mechanism_names,
    simulate_all_reduce,
    spared_rows,
)
from harness.collective.backends import cuda
from harness.collective.backends.choice import choose_backend
from harness.collective.candidate import find_candidate
from harness.collective.codec import Codec, Parts
from harness.collective.codecs.int4 import Int4
from harness.collective.codecs.int6 import Int6
from harness.collective.codecs.int8 import Int8
from harness.collective.scratch import Scratch
from suites.numerics.cases.case import LAYOUTS, lay_out
from suites.numerics.cases.data import generate
from suites.ranks.bits import bits

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
in_torchs_compiler = pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")

DTYPES = (torch.bfloat16, torch.float16, torch.float32)
DATA = ("gaussian", "uneven", "zeros", "amplitudes", "nonfinite", "cancellation", "spikes:1000")
SHAPES = [(1, 1), (7, 67), (9, 130), (3, 576), (33, 4096), (5, 5120), (2, 8193), (2, 20000), (1, 65536), (300, 64)]
RANKS = (2, 4, 8, 16)
SPARING = ("int8_token_rows4", "int4_group32_columns3+17+40", "int4_hadamard_columns5", "int6_hadamard_rows10")


def messages(data: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    if data in {"nonfinite", "spikes:1000"} and (shape[-2] < 6 or shape[-1] < 64):
        data = "gaussian"
    return generate(data, shape, dtype, torch.Generator().manual_seed(len(data) + sum(shape)))


def assert_same(ours: Tensor, expected: Tensor) -> None:
    """The same bits, but for a NaN's own."""
    ours = ours.cpu()
    assert ours.dtype == expected.dtype
    assert ours.shape == expected.shape
    assert torch.equal(ours.isnan(), expected.isnan())
    differ = (bits(ours) != bits(expected)) & ~expected.isnan()
    assert not differ.any(), f"{int(differ.sum())} of {differ.numel()}, the first at {differ.nonzero()[0].tolist()}"


def assert_same_parts(ours: Parts, expected: Parts) -> None:
    """The same scales, and the same stored values in rows whose scales are all finite: others are arbitrary."""
    if len(expected) == 1:
        assert_same(ours[0], expected[0])
        return
    assert_same(ours[1], expected[1])
    finite = expected[1].isfinite().all(dim=1)
    stored = ours[0].cpu()
    assert stored.dtype == expected[0].dtype
    assert stored.shape == expected[0].shape
    assert torch.equal(stored[finite], expected[0][finite])


def memory_for(codec: Codec, rows: int, width: int, dtype: torch.dtype) -> Parts:
    layout = codec.layout(width, dtype)
    return tuple(torch.empty((rows, columns), dtype=kind, device="cuda") for columns, kind in layout)


def encoded_there(codec: Codec, x: Tensor) -> Parts:
    out = memory_for(codec, len(x), x.shape[1], x.dtype)
    cuda.Cuda().encode(codec, x, out)
    return out


def summed_there(codec: Codec, gathered: Parts, width: int, dtype: torch.dtype) -> Tensor:
    out = torch.empty((gathered[0].shape[1], width), dtype=dtype, device="cuda")
    cuda.Cuda().decode_sum(codec, gathered, out)
    return out


def encoded(codec: Codec, x: Tensor) -> Parts:
    return tuple(torch.stack(parts) for parts in zip(*(codec.encode(one, one.dtype) for one in x), strict=True))


@needs_gpu
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", codec_names())
def test_an_encoding_is_the_cpus(name: str, shape: tuple[int, int], dtype: torch.dtype) -> None:
    codec = get_codec(name)
    for data in DATA:
        [x] = messages(data, (1, *shape), dtype)
        assert_same_parts(encoded_there(codec, x.cuda()), codec.encode(x, dtype))


@needs_gpu
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(12, 192), (3, 576), (300, 64), (5, 5120)])
@pytest.mark.parametrize("name", ["int8_token", "fp8_e4m3_token", "int4_group32", "int6_group32", "int8_hadamard"])
def test_any_strides_are_encoded_alike(name: str, shape: tuple[int, int], layout: str) -> None:
    codec = get_codec(name)
    [x] = messages("uneven", (1, *shape), torch.bfloat16)
    strided = lay_out(x.cuda(), layout)
    assert_same_parts(encoded_there(codec, strided), codec.encode(x, x.dtype))
    assert torch.equal(strided.cpu(), x)


@needs_gpu
@pytest.mark.parametrize("name", ["int8_token", "fp8_e4m3_token"])
def test_quotients_next_to_a_tie_are_rounded_like_the_cpus(name: str) -> None:
    """Every fp32 neighbour of every tie, for many scales: where a division good to one bit less would show."""
    codec = get_codec(name)
    generator = torch.Generator().manual_seed(5)
    amax = torch.rand(4096, 1, generator=generator) * 10 ** (torch.rand(4096, 1, generator=generator) * 60 - 30)
    ties = (torch.arange(-127, 127) + 0.5) * (amax / 127)
    steps = torch.arange(-2, 3).repeat(1, 254)
    beside = ties.repeat_interleave(5, dim=1).view(torch.int32) + steps
    x = torch.cat((amax, beside.view(torch.float32).clamp(-amax, amax)), dim=1)
    assert_same_parts(encoded_there(codec, x.cuda()), codec.encode(x, x.dtype))


@needs_gpu
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("name", [name for name in codec_names() if name != "upstream_bf16"])
def test_sums_are_the_cpus(name: str, ranks: int, dtype: torch.dtype) -> None:
    codec = get_codec(name)
    for shape in SHAPES:
        gathered = encoded(codec, messages("cancellation" if shape[1] % 2 else "nonfinite", (ranks, *shape), dtype))
        there = tuple(part.cuda() for part in gathered)
        total = codec.decode_sum(gathered, shape[1], dtype, Scratch())
        assert_same(summed_there(codec, there, shape[1], dtype), total.to(dtype))
        again = memory_for(codec, *shape, dtype)
        cuda.Cuda().decode_sum_encode(codec, there, shape[1], dtype, again)
        expected = tuple(part.cpu() for part in again)
        codec.decode_sum_encode(gathered, shape[1], dtype, expected, Scratch())
        assert_same_parts(again, expected)


@needs_gpu
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("algorithm", ["one_shot", "two_shot"])
@pytest.mark.parametrize("name", SPARING)
def test_spared_rows_and_columns_are_the_cpus(name: str, algorithm: str, dtype: torch.dtype) -> None:
    for ranks, data in ((2, "uneven"), (4, "spikes:1000"), (3, "nonfinite")):
        x = messages(data, (ranks, 33, 130), dtype)
        there = simulate_all_reduce(x.cuda(), codec=name, algorithm=algorithm)
        assert_same(there, simulate_all_reduce(x, codec=name, algorithm=algorithm))


@needs_gpu
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_what_decides_which_rows_are_spared_is_the_cpus(shape: tuple[int, int], dtype: torch.dtype) -> None:
    for data in DATA:
        [x] = messages(data, (1, *shape), dtype)
        assert_same(cuda.Cuda().row_powers(x.cuda()), spared_rows.row_powers(x))
        assert_same(cuda.Cuda().row_powers(x.cuda().t().contiguous().t()), spared_rows.row_powers(x))


@needs_gpu
def test_spared_rows_and_columns_are_captured_in_a_graph() -> None:
    for name in SPARING:
        x, second = messages("gaussian", (2, 2, 64, 576), torch.bfloat16).cuda()
        simulate_all_reduce(x, codec=name)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            out = simulate_all_reduce(x, codec=name)
        x.copy_(second)
        graph.replay()
        assert_same(out, simulate_all_reduce(second.cpu(), codec=name))


@needs_gpu
@pytest.mark.parametrize("name", mechanism_names())
def test_a_mechanism_is_the_same_on_a_gpu(name: str) -> None:
    for data in ("uneven", "amplitudes", "nonfinite"):
        x = messages(data, (2, 48, 320), torch.bfloat16)
        assert_same(simulate_all_reduce(x.cuda(), codec=name), simulate_all_reduce(x, codec=name))


@needs_gpu
@pytest.mark.parametrize("algorithm", ["one_shot", "two_shot"])
def test_upstreams_arithmetic_is_torchs_own_on_the_gpu(algorithm: str) -> None:
    x = messages("uneven", (4, 64, 576), torch.bfloat16)
    ours = simulate_all_reduce(x.cuda(), codec="upstream_bf16", algorithm=algorithm)
    assert torch.equal(
        ours, simulate_all_reduce(x.cuda(), codec="upstream_bf16", algorithm=algorithm, backend="eager")
    )


@needs_gpu
def test_parts_that_do_not_lie_together_are_taken() -> None:
    codec = get_codec("int8_group64")
    gathered = encoded(codec, messages("uneven", (2, 9, 130), torch.float32))
    apart = tuple(part.cuda().repeat_interleave(2, dim=1)[:, ::2] for part in gathered)
    expected = codec.decode_sum(gathered, 130, torch.float32, Scratch())
    assert_same(summed_there(codec, apart, 130, torch.float32), expected)


@needs_gpu
def test_a_group_that_is_no_power_of_two() -> None:
    codec = Int8("int8_group48", group=48)
    [x] = messages("uneven", (1, 7, 500), torch.float32)
    assert_same_parts(encoded_there(codec, x.cuda()), codec.encode(x, x.dtype))


@needs_gpu
def test_elements_beyond_the_reach_of_32_bits() -> None:
    codec = get_codec("int8_token")
    width, rows = 8192, 2**31 // 8192 + 3
    x = torch.zeros(rows, width, dtype=torch.bfloat16, device="cuda")
    x[-2:] = messages("gaussian", (2, width), torch.bfloat16).cuda()
    stored, scales = encoded_there(codec, x)
    assert_same_parts((stored[-2:], scales[-2:]), codec.encode(x[-2:].cpu(), x.dtype))
    out = summed_there(codec, (stored.expand(1, -1, -1), scales.expand(1, -1, -1)), width, x.dtype)
    assert_same(out[-2:], codec.decode(codec.encode(x[-2:].cpu(), x.dtype), width, x.dtype).bfloat16())


@needs_gpu
@pytest.mark.parametrize("algorithm", ["one_shot", "two_shot"])
@pytest.mark.parametrize("name", [name for name in codec_names() if name != "upstream_bf16"])
def test_captured_in_a_graph_and_replayed_with_other_data(name: str, algorithm: str) -> None:
    first, second = messages("gaussian", (2, 2, 16, 576), torch.bfloat16)
    x = first.cuda()
    simulate_all_reduce(x, codec=name, algorithm=algorithm)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = simulate_all_reduce(x, codec=name, algorithm=algorithm)
    for message in (second, first):
        x.copy_(message)
        graph.replay()
        assert_same(out, simulate_all_reduce(message, codec=name, algorithm=algorithm))


@needs_gpu
@in_torchs_compiler
@pytest.mark.parametrize("algorithm", ["one_shot", "two_shot"])
@pytest.mark.parametrize("name", ["none", "int8_token", "int4_group32", "int6_hadamard", "int8_hadamard"])
def test_compiled_as_one_graph_without_a_break(name: str, algorithm: str) -> None:
    x = messages("uneven", (2, 16, 576), torch.bfloat16)

    def double(values: Tensor) -> Tensor:
        return simulate_all_reduce(values, codec=name, algorithm=algorithm) * 2

    torch.compiler.reset()
    assert_same(torch.compile(double, fullgraph=True)(x.cuda()), double(x))


@in_torchs_compiler
def test_a_name_is_looked_up_without_a_warning_of_the_compiler() -> None:
    def bytes_of(x: Tensor) -> Tensor:
        codec, _algorithm = find_candidate("int8_token")
        assert isinstance(codec, Codec)
        return x + codec.row_bytes(x.shape[-1], x.dtype)

    torch.compiler.reset()
    compiled = torch.compile(bytes_of, fullgraph=True, backend="eager")
    assert torch.equal(compiled(torch.zeros(1, 64)), torch.full((1, 64), 68.0))


@needs_gpu
@pytest.mark.parametrize("name", ["int8_token", "int4_group32", "int6_hadamard", "int8_hadamard", "npu_reciprocal"])
def test_the_operators_keep_torchs_rules(name: str) -> None:
    """They write to what their schemas say, and to nothing else, and torch.compile can tell."""
    codec = get_codec(name)
    form = cuda._form(codec)
    x = messages("gaussian", (2, 7, 67), torch.bfloat16).cuda()
    stored, scales = (part.cuda() for part in encoded(codec, x.cpu()))
    operators = torch.ops.tp_compression
    own = memory_for(codec, 7, 67, x.dtype)
    torch.library.opcheck(operators.encode.default, (x[0].t().contiguous().t(), *own, *form))
    torch.library.opcheck(operators.decode_sum.default, (stored, scales, torch.empty_like(x[0]), *form))
    torch.library.opcheck(operators.decode_sum_encode.default, (stored, scales, *own, 67, *form))
    torch.library.opcheck(operators.row_powers.default, (x[0], torch.empty(7, device="cuda")))


@needs_gpu
@pytest.mark.parametrize("shape", [(2, 0, 64), (2, 3, 0)], ids=str)
def test_an_empty_tensor_stays_empty(shape: tuple[int, ...]) -> None:
    assert simulate_all_reduce(torch.zeros(shape, device="cuda")).shape == shape[1:]


@needs_gpu
def test_rows_too_long_for_a_program_are_refused() -> None:
    with pytest.raises(MissingBackendError, match="rows of up to 65536 columns that share one scale, not 65537"):
        simulate_all_reduce(torch.ones(2, 1, 65537, device="cuda"))
    ones = torch.ones(2, 1, 65537, dtype=torch.bfloat16)
    grouped = simulate_all_reduce(ones.cuda(), codec="int8_group128")
    assert_same(grouped, simulate_all_reduce(ones, codec="int8_group128"))


@needs_gpu
def test_fp8_on_a_gpu_without_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (8, 0))
    with pytest.raises(MissingBackendError, match=r"need compute capability 8\.9, this GPU has 8\.0"):
        simulate_all_reduce(torch.ones(2, 3, 64, device="cuda"), codec="fp8_e4m3_token")


def test_cuda_tensors_get_the_cuda_backend() -> None:
    assert choose_backend(on_a_gpu()).name == "cuda"


def test_tensors_elsewhere_are_refused() -> None:
    with pytest.raises(MissingBackendError, match="takes CUDA tensors, not cpu ones"):
        simulate_all_reduce(torch.ones(2, 3, 64), backend="cuda")


def test_without_triton_the_backend_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "harness.collective.kernels.ops", raising=False)
    monkeypatch.delitem(sys.modules, "harness.collective.kernels.launch", raising=False)
    monkeypatch.delattr(kernels, "ops", raising=False)
    monkeypatch.delattr(kernels, "launch", raising=False)
    with pytest.raises(MissingBackendError, match="needs Triton, whose import failed"):
        cuda.Cuda().encode(get_codec("int8_token"), on_a_gpu(), ())


def test_a_codec_without_a_kernel_is_refused() -> None:
    class Other(Int8):
        """It may round as it likes."""

    with pytest.raises(MissingBackendError, match="no kernel for codec 'other'; choose backend='eager'"):
        cuda.Cuda().encode(Other("other"), on_a_gpu(), ())
    with pytest.raises(MissingBackendError, match="takes no odd group, such as 33"):
        cuda.Cuda().encode(Int4("odd", group=33), on_a_gpu(), ())
    with pytest.raises(MissingBackendError, match="groups of a multiple of 4, not 30"):
        cuda.Cuda().encode(Int6("no_unit", group=30), on_a_gpu(), ())


def on_a_gpu() -> Tensor:
    """A tensor that claims to be on a GPU, where there is none."""
    with torch._subclasses.FakeTensorMode():
        return torch.empty(3, 64, dtype=torch.bfloat16, device="cuda")
