"""The CPU's backend: the bits of plain torch operations, whatever the tiles, pieces, strides and threads."""

import threading

import pytest
import torch
from torch import Tensor, distributed

from harness.collective import Codec, codec_names, get_codec, quant_all_reduce, simulate_all_reduce, wire_bytes
from harness.collective.backends import tiled
from harness.collective.backends.tiled import Tiled
from suites.ranks.bits import same_bits
from suites.ranks.pool import Pool
from suites.ranks.traffic import Traffic

DTYPES = (torch.bfloat16, torch.float16, torch.float32)

KINDS = ("gaussian", "subnormal", "wide", "zeros", "nonfinite")


def rows_of(kind: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(11)
    x = torch.randn(shape, generator=generator)
    if kind == "subnormal":
        x *= 2.0**-142
    if kind == "wide":
        x *= torch.exp2(torch.randint(-130, 100, (*shape[:-1], 1), generator=generator).float())
    if kind == "zeros":
        x[..., ::2, :] = 0.0
        x[..., 1, :] = -0.0
    if kind == "nonfinite":
        x[..., 0, 0], x[..., 1, -1], x[..., 2, shape[-1] // 2] = torch.nan, torch.inf, -torch.inf
    return x.to(dtype)


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows of 67 to a tile, a single one of anything wider."""
    monkeypatch.setattr(tiled, "TILE_ELEMENTS", 140)


def plainly(x: Tensor, group: int) -> tuple[Tensor, Tensor]:
    """INT8 as its definition says, a group of a row at a time."""
    stored, scales = torch.zeros(x.shape, dtype=torch.int8), torch.zeros(len(x), -(-x.shape[1] // group))
    for row in range(len(x)):
        for number, start in enumerate(range(0, x.shape[1], group)):
            block = x[row, start : start + group].float()
            amax = block.abs().max()
            scale = amax / 127
            scales[row, number] = scale if amax.isfinite() else torch.nan
            if scale > 0 and amax.isfinite():
                stored[row, start : start + group] = (block / scale).clamp(-127, 127).round().to(torch.int8)
    return stored, scales


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "group"), [("int8_token", 67), ("int8_group32", 32)])
def test_int8_codes_and_scales_are_those_of_the_definition(
    name: str, group: int, kind: str, dtype: torch.dtype
) -> None:
    x = rows_of(kind, (7, 67), dtype)
    out = tuple(torch.full_like(part, 1) for part in get_codec(name).encode(x, dtype))
    Tiled().encode(get_codec(name), x, out)
    stored, scales = plainly(x, group)
    assert same_bits(out[1], scales)
    finite = scales.isfinite().repeat_interleave(group, dim=1)[:, :67]
    assert torch.equal(out[0][finite], stored[finite])


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("algorithm", ["one_shot", "two_shot"])
@pytest.mark.parametrize("name", codec_names())
def test_tiles_give_the_bits_of_whole_tensors(name: str, algorithm: str, kind: str, dtype: torch.dtype) -> None:
    inputs = rows_of(kind, (3, 7, 131), dtype)
    whole = simulate_all_reduce(inputs, codec=name, algorithm=algorithm, backend="eager")
    out = simulate_all_reduce(inputs, codec=name, algorithm=algorithm, backend="tiled")
    finite = whole.isfinite()
    assert torch.equal(out.isfinite(), finite)
    assert same_bits(out[finite], whole[finite])
    strided = inputs.transpose(1, 2).contiguous().transpose(1, 2)
    again = simulate_all_reduce(strided, codec=name, algorithm=algorithm, backend="tiled")
    assert same_bits(again[finite], whole[finite])


def pieces(rank: int, group: distributed.ProcessGroup, codec: str, algorithm: str, shape: tuple[int, ...]) -> Tensor:
    x = rows_of("gaussian", shape, torch.bfloat16) * (rank + 1)
    whole = quant_all_reduce(x, group, codec=codec, algorithm=algorithm)
    ranks = distributed.get_world_size(group)
    with pytest.MonkeyPatch.context() as patch, Traffic(group) as traffic:
        patch.setattr(Tiled, "piece_bytes", 3 * ranks * get_codec(codec).row_bytes(shape[-1], x.dtype))
        out = quant_all_reduce(x, group, codec=codec, algorithm=algorithm)
    each = ranks if ranks > 3 else 3 // ranks * ranks
    assert len(traffic.collectives) == -(-shape[0] // each) * (2 * (ranks - 1) + (algorithm == "two_shot"))
    assert traffic.sent == wire_bytes(shape, ranks, codec=codec, algorithm=algorithm)
    assert same_bits(out, whole)
    return out


@pytest.mark.parametrize("rows", [1, 12, 23])
@pytest.mark.parametrize("algorithm", ["one_shot", "two_shot"])
@pytest.mark.parametrize("codec", ["int8_token", "int4_group32", "none"])
@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_pieces_change_neither_bits_nor_bytes(pool: Pool, ranks: int, codec: str, algorithm: str, rows: int) -> None:
    results = pool.run(ranks, pieces, codec, algorithm, (rows, 67))
    assert all(same_bits(result, results[0]) for result in results)


def test_a_message_of_several_pieces_is_that_of_one_process(pool: Pool) -> None:
    shape = (4100, 2048)  # 8.4 MB a rank, so three pieces of 4 MiB
    inputs = torch.stack([rows_of("gaussian", shape, torch.bfloat16) * (rank + 1) for rank in range(2)])
    for out in pool.run(2, reduce_large, shape):
        assert same_bits(out, simulate_all_reduce(inputs))


def reduce_large(rank: int, group: distributed.ProcessGroup, shape: tuple[int, ...]) -> Tensor:
    x = rows_of("gaussian", shape, torch.bfloat16) * (rank + 1)
    with Traffic(group) as traffic:
        out = quant_all_reduce(x, group)
    assert traffic.collectives == ["recv_", "send"] * 3
    return out


def test_what_was_kept_in_inference_mode_serves_outside_of_it() -> None:
    backend, codec = Tiled(), get_codec("int8_token")
    x = rows_of("gaussian", (4, 64), torch.bfloat16)
    with torch.inference_mode():
        first = encoded(backend, codec, x)
    assert all(torch.equal(a, b) for a, b in zip(first, encoded(backend, codec, x), strict=True))


def test_larger_rows_after_smaller_ones_and_back() -> None:
    backend, codec = Tiled(), get_codec("int8_group128")
    for shape in ((3, 64), (5, 1000), (1, 1), (3, 64)):
        x = rows_of("gaussian", shape, torch.bfloat16)
        assert all(
            torch.equal(a, b) for a, b in zip(encoded(backend, codec, x), codec.encode(x, x.dtype), strict=True)
        )


def test_threads_do_not_share_memory() -> None:
    backend, codec = Tiled(), get_codec("int8_token")
    right: list[bool] = []

    def work(number: int) -> None:
        x = rows_of("gaussian", (64, 256), torch.bfloat16) * (number + 1)
        expected = codec.encode(x, x.dtype)
        for _ in range(50):
            right.extend(torch.equal(a, b) for a, b in zip(encoded(backend, codec, x), expected, strict=True))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(right) == 4 * 50 * 2
    assert all(right)


def encoded(backend: Tiled, codec: Codec, x: Tensor) -> tuple[Tensor, ...]:
    out = tuple(torch.empty_like(part) for part in codec.encode(x, x.dtype))
    backend.encode(codec, x, out)
    return out


def few_rows(rank: int, group: distributed.ProcessGroup, codec: str, backend: str) -> Tensor:
    x = rows_of("gaussian", (1, 67), torch.bfloat16) * (rank + 1)
    return quant_all_reduce(x, group, codec=codec, algorithm="two_shot", backend=backend)


@pytest.mark.parametrize("name", codec_names())
def test_ranks_without_a_row_of_their_own(pool: Pool, name: str) -> None:
    results = [out for backend in ("eager", "tiled") for out in pool.run(3, few_rows, name, backend)]
    assert all(same_bits(out, results[0]) for out in results)
