"""The program for several GPUs, tried over gloo: what it says of calls that hang or differ, its fit, its report."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from torch import distributed

from harness.performance.links import BASE_S, LINKS
from harness.performance.measurements import Measurement
from harness.performance.model import WIDTH, kernel_seconds
from suites import publish
from suites.ranks.pool import WITHOUT_MULTICAST, Pool, WorkerError, multicast_off
from suites.ranks.timing import PLAIN
from suites.speed.model.formulas import plain_seconds
from suites.speed.multi_gpu import __main__ as multi_gpu
from suites.speed.multi_gpu import calls as calls_module
from suites.speed.multi_gpu.__main__ import Found, main, notes, parse
from suites.speed.multi_gpu.calls import CALLS_A_JOB, CallsRun, digests, mixed_calls, without_hanging
from suites.speed.multi_gpu.link import Fit, Local, fit, fit_in_words, measured_link, predict
from suites.speed.multi_gpu.times import Timed, local_work

CODECS = ["int8_token", "none"]
GLOO = ("--backend", "gloo", "--device", "cpu")


class Scripted:
    """A pool whose ranks do as they are told."""

    device = "cpu"

    def __init__(self, answer: Callable[[int, Path], list[list[int]]]) -> None:
        self._answer = answer

    def run(self, _ranks: int, job: object, _device: str, seed: int, _codecs: object, folder: str) -> list[list[int]]:
        assert job is digests
        return self._answer(seed, Path(folder))


def outcome(answer: Callable[[int, Path], list[list[int]]]) -> CallsRun:
    return without_hanging(cast("Pool", Scripted(answer)), 3, range(4), CODECS)


def test_a_seed_gives_the_same_calls_on_every_rank() -> None:
    calls = mixed_calls(7, CODECS)
    assert len(calls) == CALLS_A_JOB
    assert calls == mixed_calls(7, CODECS)
    assert calls != mixed_calls(8, CODECS)
    assert {call.codec for call in calls} == set(CODECS)
    assert {call.shape[0] for call in calls} == set(calls_module.ROWS)


def test_calls_on_real_ranks_end_and_agree(pool: Pool) -> None:
    found = without_hanging(pool, 2, [5], CODECS)
    assert (found.calls, found.fault) == (CALLS_A_JOB, "")
    assert str(found) == f"N = 2: {CALLS_A_JOB} calls, none hung, all ranks agree"


def test_ranks_that_differ_are_named_with_the_call() -> None:
    def answer(seed: int, _folder: Path) -> list[list[int]]:
        right = [1] * CALLS_A_JOB
        return [right, right, right if seed < 2 else [1] * 30 + [2] * (CALLS_A_JOB - 30)]

    found = outcome(answer)
    assert found.calls == 2 * CALLS_A_JOB
    assert (
        found.fault
        == f"FAILED: rank 2 has other bits than rank 0 in call 30 of seed 2 ({mixed_calls(2, CODECS)[30]})"
    )


def test_a_hang_is_told_by_seed_and_call_of_every_rank() -> None:
    def answer(seed: int, folder: Path) -> list[list[int]]:
        if seed < 1:
            return [[0] * CALLS_A_JOB] * 3
        (folder / "rank-0").write_bytes(b"%8d" % 41)
        (folder / "rank-1").write_bytes(b"%8d" % CALLS_A_JOB)
        raise WorkerError("rank 0: never answered")

    found = outcome(answer)
    assert found.calls == CALLS_A_JOB
    assert found.fault == (
        f"FAILED: hung or broke off with seed 1: rank 0 was in call 41 of seed 1 ({mixed_calls(1, CODECS)[41]}); "
        "rank 1 had ended; rank 2 had not begun. Once more: --seed 1. rank 0: never answered"
    )


def stuck(rank: int, group: distributed.ProcessGroup, *_: object) -> None:
    if rank == 0:
        distributed.barrier(group)


def test_a_pool_waits_as_long_as_it_is_told() -> None:
    with Pool([2], timeout_s=4) as pool, pytest.raises(WorkerError, match="rank 0"):
        pool.run(2, stuck)


def test_multicast_is_off_unless_the_environment_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in WITHOUT_MULTICAST:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NCCL_NVLS_ENABLE", "1")
    multicast_off()
    assert os.environ["NCCL_NVLS_ENABLE"] == "1"
    assert os.environ["TORCH_SYMM_MEM_DISABLE_MULTICAST"] == "1"


def meeting_later(*_: object) -> int:
    # As NCCL does at the first collective of each group.
    return distributed.get_world_size(distributed.new_group([0, 1]))


def test_ranks_can_meet_after_the_start() -> None:
    with Pool([2], timeout_s=20) as pool:
        assert pool.run(2, meeting_later) == [2, 2]


def environment(*_: object) -> str | None:
    return os.environ.get("NCCL_NVLS_ENABLE")


def test_every_rank_starts_without_multicast(pool: Pool) -> None:
    assert pool.run(2, environment) == [os.environ.get("NCCL_NVLS_ENABLE", "0")] * 2


@pytest.mark.parametrize(("latency", "bandwidth"), [(30e-6, 400e9), (2e-6, 5e9), (0.0, 1e9)])
def test_a_line_is_found_again(latency: float, bandwidth: float) -> None:
    found = fit([(2.0**power, latency + 2.0**power / bandwidth) for power in range(16, 29, 2)])
    assert found.latency_s == pytest.approx(latency, abs=1e-12)
    assert found.bytes_per_second == pytest.approx(bandwidth)
    assert found.worst < 1e-6


def test_neither_latency_nor_bandwidth_is_negative() -> None:
    faster_than_a_line = fit([(1e6, 1e-6), (2e6, 4e-6), (4e6, 16e-6)])
    assert faster_than_a_line.latency_s == 0
    assert 0 < faster_than_a_line.bytes_per_second < 1e12
    flat = fit([(1e3, 5e-6), (2e3, 4e-6)])
    assert flat.latency_s == pytest.approx(4.4e-6, rel=0.05)
    assert flat.bytes_per_second > 1e15


def test_one_size_is_not_enough() -> None:
    with pytest.raises(ValueError, match="at least two sizes"):
        fit([(1e6, 1e-6), (1e6, 2e-6)])


@pytest.mark.parametrize("ranks", [2, 4, 8])
@pytest.mark.parametrize("latency", [0.0, BASE_S / 2, BASE_S, 5 * BASE_S])
def test_the_measured_link_takes_as_long_as_the_fit(ranks: int, latency: float) -> None:
    link = measured_link(ranks, Fit(latency_s=latency, bytes_per_second=3e9, worst=0.0))
    sent = 2 * (ranks - 1) / ranks * 2 * WIDTH * 64
    assert plain_seconds(link, ranks, 64) == pytest.approx(latency + sent / 3e9)
    assert link.hop_s >= 0
    assert link.base_s <= BASE_S


def kernel(operation: str, ranks: int, size: int, microseconds: float, codec: str = "int8_token") -> Measurement:
    return Measurement(
        operation=operation,
        codec=codec,
        backend="tiled",
        ranks=ranks,
        tokens=1,
        width=WIDTH,
        microseconds=microseconds,
        bytes=size,
    )


def test_between_sizes_a_kernel_is_on_the_line_of_its_neighbours() -> None:
    run = Local(tuple(kernel("quantize", 1, size, time) for size, time in ((100, 10), (200, 20), (400, 100))))
    times = {
        size: kernel_seconds(run, "quantize", 1, size, "int8_token") * 1e6
        for size in (50, 100, 150, 200, 300, 400, 500)
    }
    assert times == pytest.approx({50: 5, 100: 10, 150: 15, 200: 20, 300: 60, 400: 100, 500: 140})


def timed(contender: str, **changed: Any) -> Timed:
    usual = {"ranks": 2, "bytes": 2 * WIDTH * 64, "seconds": 1e-3, "over_plain": 1.0, "bus_bytes_per_second": 1e9}
    return Timed(contender=contender, **{**usual, **changed})


def test_a_prediction_is_the_kernels_and_the_messages_of_the_measured_link() -> None:
    """One-shot over two ranks: 64 rows of 4096 codes and a scale each, sent once."""
    constant = [
        kernel(operation, ranks, size, microseconds)
        for operation, ranks, microseconds in (
            ("quantize", 1, 7),
            ("dequantize-sum", 2, 11),
            ("dequantize-sum", 1, 2),
        )
        for size in (1, 10**9)
    ]
    found = Fit(latency_s=BASE_S + 4e-6, bytes_per_second=1e9, worst=0.0)
    link = measured_link(2, found)
    sent = 64 * (WIDTH + 4)
    expected = 7e-6 + 11e-6 + BASE_S + 2e-6 + sent / 1e9
    assert predict(timed("int8_token/one_shot"), link, Local(tuple(constant))) == pytest.approx(expected)
    assert predict(timed(PLAIN), link, Local(())) == pytest.approx(found.latency_s + 2 * WIDTH * 64 / 1e9)
    # Its sum-requantize was not measured, and of the other codec nothing.
    assert predict(timed("int8_token/two_shot"), link, Local(tuple(constant))) is None
    assert predict(timed("int8_group/one_shot"), link, Local(tuple(constant))) is None


def test_the_fit_in_words() -> None:
    found = Fit(latency_s=21e-6, bytes_per_second=380e9, worst=0.07)
    assert fit_in_words(2, found, LINKS[:1]) == (
        "N = 2: a plain all-reduce takes 21.0 us and 380 GB/s, to 7% at worst. The model states for NVLink 4 15.2 us "
        "and 450 GB/s."
    )
    assert fit_in_words(2, found, ()).endswith("to 7% at worst.")


def test_each_ranks_own_work_is_timed_at_the_models_sizes(pool: Pool) -> None:
    found = local_work(pool, 2, [1 << 16], 1, CODECS)
    assert [(one.codec, one.operation, one.ranks) for one in found] == [
        (codec, operation, ranks)
        for codec in CODECS
        for operation, ranks in (("quantize", 1), ("dequantize-sum", 2), ("sum-requantize", 2), ("dequantize-sum", 1))
    ]
    plain, encoded = 1 << 16, 8 * (WIDTH + 4)
    assert [one.bytes for one in found[:4]] == [
        plain + encoded,
        2 * encoded + plain,
        3 * encoded // 2,
        encoded + plain,
    ]
    assert all(one.microseconds > 0 for one in found)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--device", "cpu"), "--backend nccl needs --device cuda"),
        ((*GLOO, "--ranks", "1"), "--ranks takes numbers from 2 on"),
        ((*GLOO, "--ranks", "2,many"), "--ranks takes numbers from 2 on"),
        ((*GLOO, "--parts", "calls,tea"), "not tea"),
        ((*GLOO, "--calls", "0"), "--calls and --rounds take numbers from 1 on"),
        ((*GLOO, "--largest", "65535"), "--largest 65536 and more"),
    ],
)
def test_mistakes_are_named_before_anything_starts(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str
) -> None:
    with pytest.raises(SystemExit):
        parse(arguments)
    assert says in capsys.readouterr().err


def test_without_gpus_it_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit):
        parse([])
    assert "torch sees no GPU here" in capsys.readouterr().err
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(SystemExit):
        parse([])
    assert "NCCL needs a GPU a rank, and torch sees 1" in capsys.readouterr().err
    monkeypatch.setattr("torch.cuda.device_count", lambda: 5)
    assert parse([]).ranks == (2, 4)
    assert notes(parse([]), Found())[0] == "N = 8: not run, too few GPUs."


def test_one_seed_alone() -> None:
    assert parse([*GLOO, "--calls", "250"]).seeds == (0, 1, 2)
    assert parse([*GLOO, "--seed", "41"]).seeds == (41,)


@pytest.mark.parametrize(
    ("found", "passed"),
    [
        (Found(), True),
        (Found(conforms=True, calls=[CallsRun(ranks=2, calls=9)]), True),
        (Found(conforms=False), False),
        (Found(calls=[CallsRun(ranks=2, calls=9, fault="FAILED: hung")]), False),
        (Found(broken=["N = 2: the timings are not complete"]), False),
    ],
)
def test_anything_that_broke_fails(found: Found, *, passed: bool) -> None:
    assert found.passed is passed
    text = "\n".join(notes(parse(GLOO), found))
    assert ("FAILED" in text) is not passed


def test_a_run_is_reported_for_people_and_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(publish, "REPORTS", tmp_path)
    monkeypatch.setattr(multi_gpu, "codec_names", lambda: CODECS)
    arguments = ("--ranks", "2", "--parts", "calls,timings", "--calls", "1", "--largest", "262144", "--rounds", "1")
    assert main([*GLOO, *arguments]) == 0
    said = capsys.readouterr().out
    assert "N = 2: 100 calls, none hung, all ranks agree" in said
    assert "Not run: conformance." in said
    report = json.loads((tmp_path / "latest-multi-gpu" / "report.json").read_text())
    found = report["multi-gpu"]
    assert found["passed"] is True
    assert found["conformance"] is None
    assert found["environment"]["NCCL_NVLS_ENABLE"] is not None
    assert {"torch", "cuda", "nccl", "triton"} <= found["versions"].keys()
    assert [(one["bytes"], one["contender"]) for one in found["timings"]] == [
        (size, name)
        for size in (1 << 16, 1 << 18)
        for name in (PLAIN, *(f"{codec}/{way}" for codec in CODECS for way in ("one_shot", "two_shot")))
    ]
    for one in found["timings"]:
        assert one["seconds"] > 0
        assert one["model_seconds"] > 0
        assert one["bus_bytes_per_second"] == pytest.approx(one["bytes"] / one["seconds"])
    assert [link["ranks"] for link in found["links"]] == [2]
    assert {kernel["codec"] for kernel in found["kernels"]} == set(CODECS)
    assert "finished" in report


def test_timings_that_break_leave_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise WorkerError("rank 1: never answered")

    monkeypatch.setattr(publish, "REPORTS", tmp_path)
    monkeypatch.setattr(multi_gpu, "codec_names", lambda: CODECS)
    monkeypatch.setattr(multi_gpu, "all_reduces", broken)
    assert main([*GLOO, "--ranks", "2", "--parts", "timings"]) == 1
    text = (tmp_path / "latest-multi-gpu" / "report.md").read_text()
    assert "FAILED. N = 2: the timings are not complete: rank 1: never answered" in text
