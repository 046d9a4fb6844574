"""The plugin's live check in real gloo groups, judged from the files that it leaves."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, distributed
from torch.utils._python_dispatch import TorchDispatchMode

from harness.collective import get_codec, quant_all_reduce, simulate_all_reduce
from harness.collective.clock import device_seconds
from harness.judge.engagement import Engagement, RankCounts
from harness.judge.live_check import CheckedSums, read_live_check
from harness.sglang_plugin.live_check import LiveCheck
from harness.sglang_plugin.measure import CheckedCall
from harness.sglang_plugin.policy import Choice, uniform
from suites.ranks.pool import Pool

LAYERS, TOKENS, WIDTH, PASSES = 2, 12, 64, 5
EVERY = 7
CLAIMED = Choice(codec="int8_token")
Subject = Callable[[distributed.ProcessGroup, int, Tensor], Tensor]


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool([2, 3]) as pool:
        yield pool


def right(group: distributed.ProcessGroup, _call: int, x: Tensor) -> Tensor:
    return quant_all_reduce(x, group)


def one_scale_off(group: distributed.ProcessGroup, _call: int, x: Tensor) -> Tensor:
    return quant_all_reduce(x * (1.05 if distributed.get_rank() == 1 else 1.0), group)


def missing_in_layer_1(group: distributed.ProcessGroup, call: int, x: Tensor) -> Tensor:
    return quant_all_reduce(x * (0.0 if (distributed.get_rank(), call % 4) == (1, 2) else 1.0), group)


def plain(group: distributed.ProcessGroup, _call: int, x: Tensor) -> Tensor:
    # In place, as SGLang's own fall-back does: what was sent must be kept beside it.
    distributed.all_reduce(x, group=group)
    return x


def one_bit_off_on_rank_1(group: distributed.ProcessGroup, call: int, x: Tensor) -> Tensor:
    out = quant_all_reduce(x, group)
    if distributed.get_rank() == 1 and call == 3:
        out[5, 6] = torch.nextafter(out[5, 6], torch.tensor(torch.inf))
    return out


def not_finite(group: distributed.ProcessGroup, call: int, x: Tensor) -> Tensor:
    out = quant_all_reduce(x, group)
    if call == 0:
        out[3, 4] = torch.nan
    return out


def messages(rank: int, call: int, dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(100 * call + rank)
    x = torch.randn(TOKENS, WIDTH, generator=generator)
    # Two sequences; what stands first has a channel that is much larger than all others.
    x[[0, 8], 3] *= 1000
    return x.to(dtype)


def serve(  # noqa: PLR0917 - the pool passes arguments by position
    rank: int, group: distributed.ProcessGroup, folder: str, subject: Subject, every: int, dtype: torch.dtype
) -> list[Tensor]:
    """A few passes of a model of two layers; returns what was served."""
    check = LiveCheck(Path(folder), every=every)
    check.start(rank, codec=CLAIMED.codec, algorithm=CLAIMED.algorithm)
    coordinator = SimpleNamespace(world_size=distributed.get_world_size(group), device_group=group)
    positions = torch.cat((torch.arange(8), torch.arange(TOKENS - 8)))
    served, call = [], 0
    for _ in range(PASSES):
        with check.forward(positions):
            for layer in range(LAYERS):
                for site in ("attention", "ffn"):
                    ask = partial(subject, group, call)
                    served.append(
                        check.around(site, layer, coordinator, messages(rank, call, dtype), ask, choice=CLAIMED)
                    )
                    call += 1
    return served


class AsSglangCallsThem(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses fp64 to the operators that SGLang replaces on a GPU with --enable-deterministic-inference.

    Its kernels for them take no fp64 (`sglang/srt/batch_invariant_ops`).
    """

    REPLACED = ("mm", "addmm", "bmm", "_log_softmax", "mean", "rms_norm")

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = str(func.overloadpacket.__name__)
        if name in self.REPLACED and any(isinstance(arg, Tensor) and arg.dtype == torch.float64 for arg in args):
            raise TypeError(f"aten::{name} of fp64")
        return func(*args, **(kwargs or {}))


def serve_deterministically(rank: int, group: distributed.ProcessGroup, folder: str, codec: str) -> None:
    """One checked call of a codec."""
    choice = Choice(codec=codec)
    check = LiveCheck(Path(folder), every=1)
    check.start(rank, codec=codec, algorithm="one_shot")
    coordinator = SimpleNamespace(world_size=distributed.get_world_size(group), device_group=group)
    mode = AsSglangCallsThem()  # type: ignore[no-untyped-call]
    with mode, check.forward(torch.arange(TOKENS)):
        ask = partial(quant_all_reduce, group=group, codec=codec)
        check.around("ffn", 0, coordinator, messages(rank, 0, torch.bfloat16), ask, choice=choice)


def judge(folder: Path, *, ranks: int = 2, every: int = EVERY) -> CheckedSums:
    """Judge what the passes of `serve` left."""
    calls = PASSES * LAYERS * 2
    counts: dict[str, Any] = {"elements": 0, "wire_bytes": 0, "sites": {}, "prefill_tokens": 0, "decodes": 0}
    logged = [RankCounts(rank=rank, calls=calls, prefills=PASSES, **counts) for rank in range(ranks)]
    engagement = Engagement(ranks=logged, facts={"layers": LAYERS}, faults=[])
    judged = read_live_check(folder, engagement, tp=ranks, every=every, policy=uniform(CLAIMED))
    assert judged is not None
    return judged


def check(pool: Pool, folder: Path, subject: Subject, *, ranks: int = 2) -> CheckedSums:
    pool.run(ranks, serve, str(folder), subject, EVERY, torch.float32)
    return judge(folder, ranks=ranks)


def wrong(pool: Pool, folder: Path, subject: Subject) -> list[str]:
    judged = check(pool, folder, subject)
    assert judged.faults == []
    # The first line sums the others up where there are several.
    return [fault for fault in judged.wrong if not fault.startswith("in short, ")]


def logged(folder: Path, rank: int) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"live-rank-{rank}.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("codec", ["int8_token", "int8_hadamard", "int4_group32", "int8_token_rows4"])
def test_it_calls_no_operator_that_sglang_replaces_with_one_without_fp64(
    pool: Pool, tmp_path: Path, codec: str
) -> None:
    pool.run(2, serve_deterministically, str(tmp_path), codec)
    assert all(logged(tmp_path, rank)[1]["samples"] for rank in range(2))


@pytest.mark.parametrize("ranks", [2, 3])
def test_a_right_codec_has_no_faults(pool: Pool, tmp_path: Path, ranks: int) -> None:
    judged = check(pool, tmp_path, right, ranks=ranks)
    assert (judged.wrong, judged.faults, judged.warnings) == ([], [], [])
    assert [(row.site, row.tokens) for row in judged.sites] == [
        (site, tokens) for site in ("attention", "ffn") for tokens in ("token0", "rest")
    ]
    assert len(judged.layers) == LAYERS * 4
    for row in judged.layers:
        assert 0 < row.over_bound < 1
        # The bundled collective is the claimed codec, bit for bit.
        assert row.sqnr_db == pytest.approx(row.claimed_db)
    token0, rest = judged.sites[:2]
    assert token0.crest > 7 > rest.crest
    assert token0.flushed is not None
    assert rest.flushed is not None
    assert token0.flushed > 0.5 > rest.flushed


def test_all_calls_of_the_first_pass_and_every_kth_are_sampled_alike_by_all_ranks(pool: Pool, tmp_path: Path) -> None:
    check(pool, tmp_path, right, ranks=3)
    for rank in range(3):
        _facts, *passes = logged(tmp_path, rank)
        samples = [sample for pass_ in passes for sample in pass_["samples"]]
        assert [sample["call"] for sample in samples] == [0, 1, 2, 3, 7, 14]
        assert [(sample["site"], sample["layer"]) for sample in samples[-2:]] == [("ffn", 1), ("attention", 1)]
        assert all(sample["token0"]["tokens"] == 2 and sample["rest"]["tokens"] == TOKENS - 2 for sample in samples)


def test_its_cost_is_written_down(pool: Pool, tmp_path: Path) -> None:
    judged = check(pool, tmp_path, right)
    _facts, *passes = logged(tmp_path, 0)
    spent = [pass_["check_seconds"] for pass_ in passes]
    assert spent == sorted(spent)
    assert 0 < judged.seconds < passes[-1]["pass_seconds"]
    assert judged.share is not None
    assert 0 < judged.share < 1


class Gpu:
    """Stands in for a device that is 5 s behind its host: the clock moves on when somebody waits for it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, capturing: bool = False) -> None:
        self.now, self.behind = 100.0, 0.0
        self.is_current_stream_capturing = lambda: capturing
        monkeypatch.setattr(torch, "get_device_module", lambda _device: self)
        monkeypatch.setattr("time.perf_counter", lambda: self.now)

    def ask(self, seconds: float) -> None:
        self.behind += seconds

    def synchronize(self) -> None:
        self.now, self.behind = self.now + self.behind, 0.0


def test_the_clock_waits_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Gpu(monkeypatch)
    gpu.ask(5)
    assert device_seconds(torch.device("cpu")) == 100.0
    assert device_seconds(torch.device("cuda")) == 105.0


def test_the_clock_waits_for_nothing_while_a_graph_is_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Gpu(monkeypatch, capturing=True)
    gpu.ask(5)
    assert device_seconds(torch.device("cuda")) == 100


def test_on_a_gpu_each_is_charged_with_its_own_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """7 s of work were asked for before the pass; the call's own take 5 s, and the check's 2 s."""
    gpu = Gpu(monkeypatch)
    check = LiveCheck(tmp_path, every=1)
    check.start(0, codec=CLAIMED.codec, algorithm=CLAIMED.algorithm)

    def call(x: Tensor) -> Tensor:
        gpu.ask(5)
        return x

    def measure(*_: object) -> CheckedCall:
        gpu.ask(2)
        return CheckedCall()

    monkeypatch.setattr(check, "_measure", measure)
    gpu.ask(7)
    with check.forward(torch.arange(3, device="meta")):
        check.around("ffn", 0, None, torch.zeros(3, 4, device="meta"), call, choice=CLAIMED)
    [_facts, line] = logged(tmp_path, 0)
    assert (line["check_seconds"], line["pass_seconds"]) == (2, 7)


@pytest.mark.parametrize(("every", "compresses"), [(0, True), (1, False)])
def test_a_pass_that_is_not_timed_makes_nobody_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int, *, compresses: bool
) -> None:
    gpu = Gpu(monkeypatch)
    gpu.ask(7)
    check = LiveCheck(tmp_path, every=every)
    with check.forward(torch.arange(3, device="meta"), compresses=compresses):
        pass
    assert gpu.behind == 7


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_served_is_the_same_with_and_without_it(pool: Pool, tmp_path: Path, dtype: torch.dtype) -> None:
    on = pool.run(2, serve, str(tmp_path), right, 1, dtype)
    off = pool.run(2, serve, str(tmp_path), right, 0, dtype)
    for rank in range(2):
        assert all(torch.equal(one, other) for one, other in zip(on[rank], off[rank], strict=True))
    judged = judge(tmp_path, every=1)
    assert (judged.wrong, judged.faults, judged.checked) == ([], [], PASSES * LAYERS * 2)


def test_switched_off_it_writes_nothing(pool: Pool, tmp_path: Path) -> None:
    pool.run(2, serve, str(tmp_path), right, 0, torch.float32)
    assert list(tmp_path.iterdir()) == []


def test_one_ranks_scale_off_by_5_percent_leaves_the_bound(pool: Pool, tmp_path: Path) -> None:
    faults = wrong(pool, tmp_path, one_scale_off)
    assert faults[0].startswith("rank 0, layer 0, attention: ")
    assert "elements are further from the exact sum than int8_token (one_shot) allows" in faults[0]


def test_a_rank_that_is_missing_in_one_layer_is_found_there(pool: Pool, tmp_path: Path) -> None:
    faults = wrong(pool, tmp_path, missing_in_layer_1)
    assert faults
    assert all(", layer 1, attention: " in fault and " further from the exact sum" in fault for fault in faults)


def test_a_plain_all_reduce_is_too_good(pool: Pool, tmp_path: Path) -> None:
    faults = wrong(pool, tmp_path, plain)
    assert faults[0].startswith("rank 0, layer 0, attention, token 0: an SQNR of ")
    assert faults[0].endswith("too good, so that something else ran, such as a plain all-reduce")


def test_one_bit_that_differs_between_ranks_is_found(pool: Pool, tmp_path: Path) -> None:
    (fault,) = wrong(pool, tmp_path, one_bit_off_on_rank_1)
    assert fault.startswith(
        "rank 1, layer 1, ffn: 1 elements are not the bits that rank 0 served; the worst: row 5, "
    )
    assert "column 6" in fault


def test_a_sum_of_finite_numbers_that_is_not_finite_is_found(pool: Pool, tmp_path: Path) -> None:
    faults = wrong(pool, tmp_path, not_finite)
    assert "1 of 768 elements are further" in faults[0]
    assert "row 3, column 4: served nan" in faults[0]


def swallowing(group: distributed.ProcessGroup, call: int, x: Tensor) -> Tensor:
    out = quant_all_reduce(x, group)
    return out.nan_to_num(nan=0.0) if call in (0, 1) else out


whole_messages = messages


def broken_messages(rank: int, call: int, dtype: torch.dtype) -> Tensor:
    x = whole_messages(rank, call, dtype)
    if call == 1 and rank == 1:
        x[5, 7] = torch.inf
    return x


def serve_broken(  # noqa: PLR0917 - the pool passes arguments by position
    rank: int, group: distributed.ProcessGroup, folder: str, subject: Subject, every: int, dtype: torch.dtype
) -> list[Tensor]:
    """As `serve`, with an infinity in one rank's message of call 1."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(serve.__globals__, "messages", broken_messages)
        return serve(rank, group, folder, subject, every, dtype)


def test_a_message_that_is_not_finite_is_a_warning_and_hiding_it_is_wrong(pool: Pool, tmp_path: Path) -> None:
    for name, subject in (("honest", right), ("hiding", swallowing)):
        (tmp_path / name).mkdir()
        pool.run(2, serve_broken, str(tmp_path / name), subject, EVERY, torch.float32)
    honest, hiding = judge(tmp_path / "honest"), judge(tmp_path / "hiding")
    assert (honest.wrong, honest.faults) == ([], [])
    assert honest.warnings[0].startswith("messages or sums of 1 checked tokens are not finite (layer 0, ffn)")
    assert honest.nonfinite == 2
    assert [text.split(": ")[1] for text in hiding.wrong] == [
        "1 elements are finite, though a message is not there"
    ] * 2


@pytest.mark.parametrize("codec", ["int8_token", "int8_group32_rows10"])
def test_rows_that_are_not_finite_change_nothing_of_the_others_bound(codec: str) -> None:
    """Which rows a codec spares is told from the whole message: leaving rows out beforehand would change it."""
    inputs = torch.stack([messages(rank, 0, torch.float32) for rank in range(2)])
    inputs[1, 9, 3] = torch.nan
    chosen = get_codec(codec)
    served = simulate_all_reduce(inputs, codec=chosen, algorithm="one_shot")
    call = CheckedCall()
    call.add(
        inputs,
        torch.stack([served, served]),
        rank=0,
        token0=torch.zeros(TOKENS, dtype=torch.bool),
        codec=chosen,
        algorithm="one_shot",
        row=0,
    )
    assert (call.nonfinite, call.swallowed, call.rest.tokens, call.rest.beyond) == (1, 0, TOKENS - 1, 0)
    # What was served is the claimed codec's own, bit for bit.
    assert call.rest.error == pytest.approx(call.rest.claimed)


def test_a_sum_beyond_the_dtypes_range_is_no_fault_of_compression() -> None:
    inputs = torch.full((2, 3, 8), 60000.0, dtype=torch.float16)
    call = CheckedCall()
    served = inputs.sum(dim=0)
    call.add(
        inputs,
        torch.stack([served, served]),
        rank=0,
        token0=torch.zeros(3, dtype=torch.bool),
        codec=get_codec("int8_token"),
        algorithm="one_shot",
        row=0,
    )
    assert (call.nonfinite, call.rest.beyond) == (3, 0)
