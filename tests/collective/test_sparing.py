"""Rows and columns that are sent in full beside a codec's, and the codecs behind them."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, distributed

from harness.collective import (
    UnknownCodecError,
    codec_names,
    get_codec,
    quant_all_reduce,
    simulate_all_reduce,
    wire_bytes,
)
from harness.collective.bounds import sum_bound
from suites.numerics.promises import PROMISES
from suites.numerics.trial.subject import Subject
from suites.numerics.trial.trial import ViolationError
from suites.ranks.pool import Pool
from tests.collective import planted_sparing

ALGORITHMS = ("one_shot", "two_shot")


def spiky(ranks: int = 2) -> Tensor:
    """Gaussian rows, of which two have a spike on rank 0 and one on the last rank."""
    x = torch.randn(ranks, 50, 96, generator=torch.Generator().manual_seed(ranks))
    x[0, 0, 5], x[0, 31, 7], x[-1, 12, 90] = 700, -90, 500
    return x


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_rows_of_largest_crest_are_sent_in_full(algorithm: str) -> None:
    x = spiky()
    x[1, 40] *= 1000  # large, but of no larger crest than others
    out = simulate_all_reduce(x, codec="int8_token_rows4", algorithm=algorithm)
    rest = x.clone()
    rest[0, [0, 31]] = 0
    second = [row for row in range(50) if row not in {0, 12, 31}]
    plain = simulate_all_reduce(rest, codec="int8_token", algorithm=algorithm)
    error = (out - x.sum(dim=0)).abs().amax(dim=1)
    # Rank 1 spares row 12 and one of its ordinary rows; the other rank's part of a row is quantized as ever.
    differing = [row for row in second if not torch.equal(out[row], plain[row])]
    assert len(differing) == 1
    assert error[[0, 12, 31]].max() < 0.03
    without = (simulate_all_reduce(x, codec="int8_token", algorithm=algorithm) - x.sum(dim=0)).abs().amax(dim=1)
    assert without[[0, 12, 31]].min() > 0.3


def test_a_share_is_rounded_up_and_its_bytes_are_counted() -> None:
    row, spared = 96 + 4, 4 + 96 * 2
    for rows, count in ((50, 2), (51, 3), (1, 1), (25, 1)):
        assert wire_bytes((rows, 96), 2, codec="int8_token_rows4") == rows * row + count * spared
    assert wire_bytes((50, 96), 4, codec="int8_token_rows4", algorithm="two_shot") == 3 * (2 * 13 * row + 2 * spared)
    assert wire_bytes((200, 96), 2, codec="int8_token_rows0.5") == 200 * row + spared


def test_a_row_that_is_not_finite_takes_no_other_rows_place() -> None:
    x = spiky()
    x[0, 20, 3], x[0, 21, 3] = torch.nan, torch.inf
    out = simulate_all_reduce(x, codec="int8_token_rows4")
    assert (~out.isfinite()).any(dim=1).nonzero().flatten().tolist() == [20, 21]
    assert (out - x.sum(dim=0))[[0, 31]].abs().max() < 0.03


def test_of_equal_rows_the_first_is_spared() -> None:
    x = torch.ones(2, 8, 4).bfloat16()
    x[:, :, 0] = 1.5
    bound = sum_bound(x, get_codec("int8_token_rows10"))
    assert bound[0].max() < bound[1:].max(dim=1).values.min()


@pytest.mark.parametrize("base", ["int8_token", "int4_group32", "int4_hadamard"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_spared_columns_are_exact_and_set_no_scale(algorithm: str, base: str) -> None:
    x = spiky().bfloat16()
    x[..., [5, 90]] *= 1000
    out = simulate_all_reduce(x, codec=f"{base}_columns90+5", algorithm=algorithm)
    exact = simulate_all_reduce(x, codec="none", algorithm=algorithm)
    assert torch.equal(out[:, [5, 90]], exact[:, [5, 90]])
    others = [column for column in range(96) if column not in {5, 90}]
    rest = x.clone()
    rest[..., [5, 90]] = 0
    assert (out - exact)[:, others].float().abs().mean() <= (
        (simulate_all_reduce(rest, codec=base, algorithm=algorithm) - exact)[:, others].float().abs().mean() * 1.1
    )
    if algorithm == "one_shot":
        alone = simulate_all_reduce(rest, codec=base, algorithm=algorithm)
        assert torch.equal(out[:, others], alone[:, others])


def test_spared_columns_are_counted() -> None:
    assert get_codec("int4_group32_columns3+17").row_bytes(96, torch.bfloat16) == 48 + 12 + 2 * 2
    assert get_codec("int4_group32_columns3+17").row_bytes(96, torch.float32) == 48 + 12 + 2 * 4


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("int8_token_rows0", "more than 0 and less than 100 %"),
        ("int8_token_rows100", "more than 0 and less than 100 %"),
        ("upstream_bf16_rows4", "rows cannot be spared from what 'upstream_bf16' encodes"),
        ("int8_token_rows4_rows4", "rows cannot be spared from what 'int8_token_rows4' encodes"),
        ("int8_token_columns3_rows4", "rows cannot be spared from what 'int8_token_columns3' encodes"),
        ("int8_token_columns3+3", "one or more, each named once"),
        ("int8_token_rows4_columns3", "columns cannot be spared from what 'int8_token_rows4' encodes"),
        ("int8_token_columns3_columns4", "columns cannot be spared from what 'int8_token_columns3' encodes"),
    ],
)
def test_what_cannot_be_spared_is_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        get_codec(name)


@pytest.mark.parametrize("name", ["int9_rows4", "int8_token_rows", "int8_token_columns", "int8_token_columns3,4"])
def test_an_unknown_name_is_told_how_sparing_is_named(name: str) -> None:
    with pytest.raises(UnknownCodecError, match=r"CODEC_columns12\+77 .* CODEC_rows4") as refusal:
        get_codec(name)
    assert repr(name) in str(refusal.value)


def test_columns_of_another_model_are_refused() -> None:
    with pytest.raises(ValueError, match="spares column 700, but a row has 96 columns"):
        simulate_all_reduce(spiky(), codec="int8_token_columns5+700")
    with pytest.raises(ValueError, match="spares column 700, but a row has 96 columns"):
        wire_bytes((50, 96), 2, codec="int8_token_columns5+700")


def reduced(rank: int, group: distributed.ProcessGroup, codec: str, algorithm: str) -> Tensor:
    return quant_all_reduce(spiky(distributed.get_world_size(group))[rank], group, codec=codec, algorithm=algorithm)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("codec", ["int6_hadamard_rows10", "int8_hadamard_columns5+90"])
def test_any_codec_can_spare(pool: Pool, codec: str, algorithm: str) -> None:
    for ranks in (2, 3):
        expected = simulate_all_reduce(spiky(ranks), codec=codec, algorithm=algorithm)
        for out in pool.run(ranks, reduced, codec, algorithm):
            assert torch.equal(out, expected)


@pytest.mark.parametrize(("name", "bits"), [("int6_group32", 7), ("int6_hadamard", 6.25), ("int4_hadamard", 4.25)])
def test_bytes_of_the_narrow_codecs(name: str, bits: float) -> None:
    assert get_codec(name).row_bytes(1024, torch.bfloat16) == 1024 * bits / 8


def test_every_six_bit_value_comes_back() -> None:
    x = torch.arange(-31, 32).float().unsqueeze(0)
    x = torch.cat([x, x.flip(1), x.roll(5, 1)])
    x[:, ::32], x[:, 1::32] = 31, 0
    codec = get_codec("int6_group32")
    assert torch.equal(codec.decode(codec.encode(x, x.dtype), 63, x.dtype), x)


def test_all_new_codecs_are_in_the_suites_list() -> None:
    assert {"int6_group32", "int6_hadamard", "int4_hadamard"} <= set(codec_names())


@pytest.mark.parametrize(
    ("planted", "claimed", "killer"),
    [
        (planted_sparing.sign_of_six_bits_lost, "int6_group32", "one_rank_alone"),
        (planted_sparing.rotated_in_blocks_of_64, "int4_hadamard", "predicted_noise"),
        (planted_sparing.spared_rows_quantized, "int8_token_rows4", "pointwise_bound"),
        (planted_sparing.rows_of_largest_amax, "int8_token_rows4", "shapes"),
        (planted_sparing.first_spared_column_quantized, "int4_group32_columns3+17+40", "pointwise_bound"),
    ],
)
def test_a_planted_bug_is_killed(
    pool: Pool, planted: Callable[[Tensor, distributed.ProcessGroup], Tensor], claimed: str, killer: str
) -> None:
    subject = Subject(implementation=f"tests.collective.planted_sparing:{planted.__name__}", codec=claimed)
    with pytest.raises(ViolationError) as violation:
        try_all(pool, subject, killer)
    assert not violation.value.crashed


def try_all(pool: Pool, subject: Subject, check: str) -> None:
    for case in PROMISES[check].cases(subject, 2):
        if subject.takes(case.shape[-1]):
            PROMISES[check].run(pool, subject, case)
