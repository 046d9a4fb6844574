"""What people run elsewhere, against what its sources say; and the one call for every candidate."""

import math
import struct

import pytest
import torch
from torch import Tensor

from harness.collective import (
    UnknownCodecError,
    codec_names,
    find_candidate,
    mechanism_names,
    ring_bytes,
    simulate_all_reduce,
    wire_bytes,
)
from harness.collective.bounds import sqnr_db
from harness.collective.mechanisms import find_mechanism
from harness.collective.mechanisms.mechanism import Mechanism


def gaussian(ranks: int, *shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    return torch.randn(ranks, *shape, generator=torch.Generator().manual_seed(ranks)).to(dtype)


def results(name: str, x: Tensor) -> Tensor:
    mechanism = find_mechanism(name)
    assert mechanism is not None
    return mechanism.simulate(x)


def sqnr(name: str, x: Tensor) -> float:
    exact = x.double().sum(dim=0)
    return sqnr_db(exact, (simulate_all_reduce(x, codec=name).double() - exact).square())


def half(value: float) -> float:
    """Python's own fp16: rounded to nearest even, infinite beyond 65504."""
    try:
        return float(struct.unpack("e", struct.pack("e", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def clamped(value: float) -> float:
    return half(min(max(value, -65504.0), 65504.0))


def through_quickreduce(values: list[float], levels: int) -> list[float]:
    """One group of 32, a number at a time: what facts say of the kernel, without a tensor."""
    largest, smallest = max(values), min(values)
    step = clamped((largest if largest > -smallest else smallest) * (-1 / levels))
    inverse = clamped(1 / clamped(step + 2.0**-24))
    codes = [round(min(max(clamped(value * inverse), -levels), levels - 1)) for value in values]
    return [clamped(code * step) for code in codes]


@pytest.mark.parametrize(("bits", "levels"), [(8, 128), (6, 32), (4, 8), (3, 4)])
def test_quickreduce_is_what_its_kernel_computes_number_by_number(bits: int, levels: int) -> None:
    x = gaussian(2, 3, 64) * torch.tensor([[1.0], [3e-4], [4e4]]).bfloat16()
    out = simulate_all_reduce(x, codec=f"quickreduce_int{bits}").flatten().tolist()
    for start in range(0, 192, 64):
        for parity in (0, 1):
            places = range(start + parity, start + 64, 2)
            total = [0.0] * 32
            for message in x.float().flatten(1).tolist():
                sent = through_quickreduce([clamped(message[place]) for place in places], levels)
                total = [clamped(one + other) for one, other in zip(total, sent, strict=True)]
            expected = torch.tensor(through_quickreduce(total, levels)).bfloat16().tolist()
            assert [out[place] for place in places] == expected


@pytest.mark.parametrize(("name", "published"), [("quickreduce_int4", 18.3), ("quickreduce_int6", 30.4)])
def test_quickreduce_has_the_published_noise(name: str, published: float) -> None:
    """TP 8, synthetic data: aiter's PRs 4970 and 5554."""
    assert sqnr(name, gaussian(8, 128, 1024)) == pytest.approx(published, abs=0.1)


def test_values_beyond_fp16_are_clamped_or_lost() -> None:
    x = gaussian(4, 2, 64)
    x[0, 0, 8] = 132096.0  # seen in gpt-oss-120b
    x[:, 1, 10] = 60000.0  # each within fp16, their sum not
    clamped_sum = simulate_all_reduce(x, codec="quickreduce_int8")
    assert clamped_sum.isfinite().all()
    assert clamped_sum[0, 8] == clamped_sum[1, 10] == 65536  # what bf16 makes of 65504
    lost = simulate_all_reduce(x, codec="quickreduce_int8_gfx950")
    assert not lost[0, 8].isfinite()
    assert not lost[1, 10].isfinite()
    kept = simulate_all_reduce(x, codec="quickreduce_int8_bf16")
    assert kept[0, 8].item() == pytest.approx(132096, rel=0.01)
    assert kept[1, 10].item() == pytest.approx(240000, rel=0.01)


@pytest.mark.parametrize(("bits", "levels"), [(8, 128), (6, 32), (4, 8), (3, 4)])
def test_small_groups_fall_off_a_cliff(bits: int, levels: int) -> None:
    """Below ``levels / 65504`` the reciprocal overflows fp16: attenuated where it is clamped, else all +-extremum."""
    extremum = 0.25 * levels / 65504
    x = torch.zeros(2, 1, 64)
    x[0, 0, ::2] = extremum
    x[0, 0, 0] = -extremum / 2
    x[0, 0, 2] = 0
    x[0, 0, 1::2] = 1
    small = simulate_all_reduce(x, codec=f"quickreduce_int{bits}")
    # Twice encoded, each time about (extremum / limit) of what it was, in whole steps.
    assert small[0, 4] < 0.5 * extremum
    assert small[0, 2] == 0
    lost = simulate_all_reduce(x, codec=f"quickreduce_int{bits}_gfx950")
    assert lost[0, 2] == pytest.approx(extremum, rel=0.05)
    assert lost[0, 4] == pytest.approx(extremum, rel=0.05)
    assert (small[0, 1::2] == lost[0, 1::2]).all()
    assert (small[0, 1::2] == 1).all()


def test_quickreduce_uses_the_whole_range_for_the_extremums_sign() -> None:
    x = torch.zeros(2, 1, 64)
    x[0, 0, 0::2] = 8 * torch.linspace(-1, 0.9, 32)
    x[0, 0, 62] = 7.9
    out = simulate_all_reduce(x, codec="quickreduce_int4")
    assert out[0, 0] == -8
    assert out[0, 62] == 7  # the other sign's range ends at 7/8


def test_bf16_arithmetic_costs_int8_a_bit() -> None:
    x = gaussian(8, 64, 512)
    assert sqnr("quickreduce_int8", x) - sqnr("quickreduce_int8_bf16", x) > 1.5


def test_flashinfers_ranks_end_with_different_tensors() -> None:
    x = gaussian(4, 16, 1024, dtype=torch.float32)
    out = results("flashinfer_fp8", x)
    exact = x.sum(dim=0).flatten()
    for rank in range(4):
        assert not torch.equal(out[rank], out[(rank + 1) % 4])
        error = (out[rank].flatten() - exact).square().view(4, 4096).mean(dim=1)
        # Blocks of 4096 dealt in turn: the own one has gone through one encoding, and is the best.
        assert error.argmin() == rank
        assert torch.equal(simulate_all_reduce(x, codec="flashinfer_fp8", rank=rank), out[rank])


def test_flashinfer_agrees_with_itself_where_a_second_encoding_loses_nothing() -> None:
    x = torch.zeros(2, 8, 1024)
    x[:, :, ::4] = 448.0
    out = results("flashinfer_fp8", x)
    assert torch.equal(out[0], x.sum(dim=0))
    assert torch.equal(out[0], out[1])


def test_vllms_proposal_leans_towards_zero() -> None:
    x = gaussian(2, 64, 1024, dtype=torch.float32).abs()
    lean = (simulate_all_reduce(x, codec="vllm_pr39783_int8") - x.sum(dim=0)).mean()
    step = x.amax() / 127
    assert -1.6 * step < lean < -0.7 * step
    rounded = (simulate_all_reduce(x, codec="int8_token") - x.sum(dim=0)).mean()
    assert abs(rounded) < 0.05 * step


def test_vllms_own_test_data_cannot_show_it() -> None:
    """One constant a rank is exactly representable."""
    x = torch.stack([torch.full((8, 1024), 1.0), torch.full((8, 1024), 2.0)]).bfloat16()
    assert torch.equal(simulate_all_reduce(x, codec="vllm_pr39783_int8"), x.sum(dim=0))


def test_tensorrt_llms_groups_begin_anew_at_each_ranks_slice() -> None:
    x = torch.zeros(2, 1, 1024)
    x[:, 0, 511], x[:, 0, 512] = 1000.0, 0.0011
    out = simulate_all_reduce(x, codec="tensorrt_llm_fp8")
    assert out[0, 512] == pytest.approx(0.0022, rel=0.07)
    # 496 elements after the slice's start another group begins.
    x[:, 0, 495], x[:, 0, 511] = 0.0011, 0
    x[:, 0, 494] = 1000.0
    assert simulate_all_reduce(x, codec="tensorrt_llm_fp8")[0, 495] == 0


def test_tensorrt_llm_encodes_three_times_over_eight_ranks() -> None:
    four, eight = (sqnr("tensorrt_llm_fp8", gaussian(ranks, 64, 1024)) for ranks in (4, 8))
    # Noise of one encoding on each input, and one or two on sums: two against three equal parts.
    assert four - eight == pytest.approx(10 * math.log10(3 / 2), abs=0.3)


@pytest.mark.parametrize("name", mechanism_names())
@pytest.mark.parametrize("ranks", [2, 8])
def test_every_mechanism_sums(name: str, ranks: int) -> None:
    x = gaussian(ranks, 33, 5, 64)
    if "int3" in name and ranks > 2:
        with pytest.raises(ValueError, match="works over 2 ranks, not 8"):
            simulate_all_reduce(x, codec=name)
        return
    out = simulate_all_reduce(x, codec=name)
    assert out.shape == x.shape[1:]
    assert out.dtype == x.dtype
    assert sqnr(name, x) > (11 if "int3" in name else 17)
    found = results(name, x)
    mechanism = find_candidate(name)[0]
    assert isinstance(mechanism, Mechanism)
    assert mechanism.ranks_differ == any(not torch.equal(one, found[0]) for one in found) or out.numel() <= 4096
    assert torch.equal(simulate_all_reduce(torch.zeros_like(x), codec=name), torch.zeros_like(x[0]))


@pytest.mark.parametrize(
    ("name", "over_ring"),
    [
        ("quickreduce_int8", 8.5 / 16),
        ("quickreduce_int6", 6.5 / 16),
        ("quickreduce_int4", 4.5 / 16),
        ("quickreduce_int3", 3.5 / 16),
        ("aiter_fp8", 8.5 / 16),
        ("flashinfer_fp8", (1 + 4 / 256) / 2),
        ("vllm_pr39783_int8", (1 + 4 / 256) / 2),
    ],
)
def test_bytes_of_mechanisms(name: str, over_ring: float) -> None:
    shape = (64, 1024)
    assert wire_bytes(shape, 2, codec=name) == over_ring * ring_bytes(shape, 2)


def test_what_is_not_whole_is_filled_up() -> None:
    assert wire_bytes((1, 64), 2, codec="quickreduce_int8") == 2 * 8192 * 17 // 16
    assert wire_bytes((1, 64), 4, codec="tensorrt_llm_fp8") == 2 * 3 * 512
    assert wire_bytes((0, 64), 4, codec="tensorrt_llm_fp8") == 0


def test_a_mechanism_has_its_own_algorithm_and_rank_counts() -> None:
    x = gaussian(3, 4, 64)
    with pytest.raises(ValueError, match="quickreduce_int8 has an algorithm of its own; leave 'two_shot' out"):
        simulate_all_reduce(x, codec="quickreduce_int8", algorithm="two_shot")
    with pytest.raises(ValueError, match="quickreduce_int8 works over 2, 4, 8 ranks, not 3"):
        simulate_all_reduce(x, codec="quickreduce_int8")
    with pytest.raises(ValueError, match="quickreduce_int8 works over 2, 4, 8 ranks, not 3"):
        wire_bytes((4, 64), 3, codec="quickreduce_int8")
    assert torch.equal(simulate_all_reduce(x[:1], codec="quickreduce_int8"), x[0])


def test_an_unknown_candidate_is_told_all_there_are() -> None:
    with pytest.raises(UnknownCodecError) as refusal:
        simulate_all_reduce(gaussian(2, 4, 64), codec="quickreduce")
    assert all(name in str(refusal.value) for name in (*codec_names(), *mechanism_names(), "CODEC_rows4"))


def plain_sum(inputs: Tensor) -> Tensor:
    return inputs.sum(dim=0)


def each_its_own(inputs: Tensor) -> Tensor:
    return inputs + inputs.sum(dim=0)


each_its_own.wire_bytes = lambda shape, ranks, dtype: math.prod(shape) * ranks * dtype.itemsize  # type: ignore[attr-defined]


def misshapen(inputs: Tensor) -> Tensor:
    return inputs[0, 0]


HERE = "tests.collective.test_mechanisms"


def test_a_users_own_function_is_called_like_any_candidate() -> None:
    x = gaussian(2, 3, 64)
    assert torch.equal(simulate_all_reduce(x, codec=f"{HERE}:plain_sum"), x.sum(dim=0))
    assert torch.equal(simulate_all_reduce(x, codec=f"{HERE}:each_its_own", rank=1), x[1] + x.sum(dim=0))
    assert wire_bytes((3, 64), 2, codec=f"{HERE}:each_its_own") == 3 * 64 * 2 * 2


def test_what_is_wrong_with_a_users_function_is_said() -> None:
    with pytest.raises(TypeError, match=r"misshapen returned torch\.bfloat16 \(64,\); expected torch\.bfloat16 "):
        simulate_all_reduce(gaussian(2, 3, 64), codec=f"{HERE}:misshapen")
    with pytest.raises(TypeError, match=r"plain_sum has no wire_bytes = f\(shape, ranks, dtype\)"):
        wire_bytes((3, 64), 2, codec=f"{HERE}:plain_sum")
    with pytest.raises(TypeError, match="has no function 'nothing'"):
        simulate_all_reduce(gaussian(2, 3, 64), codec=f"{HERE}:nothing")
    with pytest.raises(ModuleNotFoundError):
        find_candidate("no_such_module:f")
