import json
from pathlib import Path
from typing import Any

import pytest

from harness.judge.engagement import Engagement, prove, read_engagement
from harness.sglang_plugin.policy import Choice, Policy, Rule, uniform
from harness.sglang_plugin.recorder import Recorder
from tests.rank_logs import FACTS, LAYERS, WIDTH, count, write_engagement
from tests.support import make

TOKENS = 1 + 2 + 3 + 4
POLICY = uniform(Choice(codec="int8_token"))


def read(
    folder: Path, *, compressed: bool = True, tp: int = 2, policy: Policy = POLICY, **expected: Any
) -> Engagement:
    expected = {"tp_size": tp, **expected}
    return read_engagement(folder, tp=tp, compressed=compressed, policy=policy, expected=expected)


def faults(folder: Path, **how: Any) -> list[str]:
    return read(folder, **how).faults


def started(folder: Path, rank: int = 0, *, flag: bool = True) -> Recorder:
    recorder = Recorder(folder)
    recorder.start(rank, {**FACTS, "flag": flag, "tp_size": 1})
    return recorder


def prefill(recorder: Recorder, *, attention: int = LAYERS, ffn: int = LAYERS, plain: int = 0) -> None:
    with recorder.forward("EXTEND", 5):
        for layer in range(attention):
            count(recorder, "attention", 5, layer=layer, quantized=layer >= plain)
        for layer in range(ffn):
            count(recorder, "ffn", 5, layer=layer)


def test_a_compressed_arm_is_counted_by_rank_and_site(tmp_path: Path) -> None:
    write_engagement(tmp_path, compressed=True)
    proof = read(tmp_path)
    assert proof.faults == []
    assert [counts.rank for counts in proof.ranks] == [0, 1]
    for counts in proof.ranks:
        assert counts.calls == 4 * 2 * LAYERS
        assert counts.elements == 2 * LAYERS * TOKENS * WIDTH
        assert counts.wire_bytes == 2 * LAYERS * TOKENS * (WIDTH + 4)
        assert (counts.prefills, counts.prefill_tokens, counts.decodes) == (4, TOKENS, 4)
        assert counts.sites["attention"].calls == counts.sites["ffn"].calls == 4 * LAYERS
        assert counts.sites["attention"].quantized == 4 * LAYERS
    assert proof.facts == {**FACTS, "flag": True}


def test_a_baseline_arm_compresses_nothing(tmp_path: Path) -> None:
    write_engagement(tmp_path, compressed=False)
    proof = read(tmp_path, compressed=False)
    assert proof.faults == []
    assert [(counts.calls, counts.elements, counts.wire_bytes) for counts in proof.ranks] == [(0, 0, 0)] * 2
    assert proof.ranks[0].sites.keys() == {"attention", "ffn"}


@pytest.mark.parametrize("compressed", [True, False])
def test_arms_taken_for_each_other(tmp_path: Path, *, compressed: bool) -> None:
    write_engagement(tmp_path, compressed=compressed)
    found = faults(tmp_path, compressed=not compressed)
    assert f"rank 0 ran with enable_quant_communications={compressed}" in found
    assert f"rank 1 ran with enable_quant_communications={compressed}" in found
    assert len(found) > 2


@pytest.mark.parametrize("ranks", [(0,), (1,), ()])
def test_each_rank_without_a_log_is_named(tmp_path: Path, ranks: tuple[int, ...]) -> None:
    write_engagement(tmp_path, compressed=True, ranks=ranks)
    proof = read(tmp_path)
    missing = [rank for rank in range(2) if rank not in ranks]
    assert [fault.split(" left no proof")[0] for fault in proof.faults] == [f"rank {rank}" for rank in missing]
    assert all("search the server's log for 'plugin'" in fault for fault in proof.faults)
    assert [counts.rank for counts in proof.ranks] == list(ranks)
    assert bool(proof.facts) is bool(ranks)


def test_a_log_that_was_cut_off_is_no_proof(tmp_path: Path) -> None:
    write_engagement(tmp_path, compressed=True)
    file = tmp_path / "rank-1.jsonl"
    file.write_text(file.read_text()[:-9])
    (fault,) = faults(tmp_path)
    assert fault.startswith("rank 1 left no proof (rank-1.jsonl: ")


@pytest.mark.parametrize("text", ["", '{"rank": 0}\n', '["rank"]\n', '{"mode": "EXTEND", "tokens": 1}\n', "3\n"])
def test_a_log_that_is_none_is_no_proof(tmp_path: Path, text: str) -> None:
    write_engagement(tmp_path, compressed=True)
    (tmp_path / "rank-0.jsonl").write_text(text)
    (fault,) = faults(tmp_path)
    assert fault.startswith("rank 0 left no proof (rank-0.jsonl: ")


def test_a_line_that_is_no_pass_is_no_proof(tmp_path: Path) -> None:
    write_engagement(tmp_path, compressed=True)
    with (tmp_path / "rank-0.jsonl").open("a") as log:
        log.write('{"tokens": 3}\n')
    (fault,) = faults(tmp_path)
    assert fault.startswith("rank 0 left no proof (rank-0.jsonl: ")


def test_another_tp_size(tmp_path: Path) -> None:
    write_engagement(tmp_path, compressed=True, tp_size=4)
    assert faults(tmp_path) == ["rank 0 ran with tp_size=4, not 2", "rank 1 ran with tp_size=4, not 2"]


@pytest.mark.parametrize("compressed", [True, False])
def test_a_rank_without_a_prefill_proves_nothing(tmp_path: Path, *, compressed: bool) -> None:
    write_engagement(tmp_path, compressed=compressed, prefills=0)
    found = faults(tmp_path, compressed=compressed)
    assert [fault[:23] for fault in found] == ["rank 0 ran no prefill, ", "rank 1 ran no prefill, "][:2]


@pytest.mark.parametrize(("attention", "ffn"), [(0, LAYERS), (LAYERS, 0), (LAYERS - 1, LAYERS), (0, 0)])
def test_a_prefill_that_is_not_compressed_in_every_layer(tmp_path: Path, attention: int, ffn: int) -> None:
    recorder = started(tmp_path)
    prefill(recorder)
    prefill(recorder, attention=attention, ffn=ffn)
    (fault,) = faults(tmp_path, tp=1)
    assert f"prefill of 5 tokens compressed {attention} in attention, {ffn} in ffn; the model has 3" in fault


@pytest.mark.parametrize("mode", ["DECODE", "IDLE"])
def test_compression_where_sglang_never_compresses(tmp_path: Path, mode: str) -> None:
    recorder = started(tmp_path)
    prefill(recorder)
    with recorder.forward(mode, 1):
        count(recorder, "attention")
        count(recorder, "ffn")
    assert faults(tmp_path, tp=1) == [f"rank 0 compressed 2 times in a pass of mode {mode}"]


def test_compression_outside_any_pass(tmp_path: Path) -> None:
    recorder = started(tmp_path)
    prefill(recorder)
    count(recorder, "attention")
    assert faults(tmp_path, tp=1) == ["rank 0 compressed 1 times in a pass of mode OUTSIDE"]


def test_an_unknown_site_is_counted_and_is_a_fault(tmp_path: Path) -> None:
    recorder = started(tmp_path)
    with recorder.forward("EXTEND", 5):
        for layer in range(LAYERS):
            count(recorder, "attention", 5, layer=layer)
            count(recorder, "ffn", 5, layer=layer)
        count(recorder, "unknown", 5)
    proof = read(tmp_path, tp=1)
    assert proof.faults == ["rank 0 compressed at an unknown site: unknown"]
    assert proof.ranks[0].calls == 2 * LAYERS + 1


def test_a_silent_fall_back_to_a_plain_all_reduce(tmp_path: Path) -> None:
    prefill(started(tmp_path), plain=2)
    (fault,) = faults(tmp_path, tp=1)
    assert fault.startswith("rank 0 fell back to a plain all-reduce 2 times in one pass")


def test_one_compressed_call_spoils_the_baseline(tmp_path: Path) -> None:
    recorder = started(tmp_path, flag=False)
    prefill(recorder, attention=1, ffn=0)
    assert faults(tmp_path, tp=1, compressed=False) == ["rank 0 compressed 1 times, though this is the baseline"]


def test_empty_prefills_are_none(tmp_path: Path) -> None:
    recorder = started(tmp_path)
    prefill(recorder)
    with recorder.forward("EXTEND", 0):
        pass
    proof = read(tmp_path, tp=1)
    assert proof.faults == []
    assert proof.ranks[0].prefills == 1


def test_ranks_that_differ(tmp_path: Path) -> None:
    write_engagement(tmp_path, compressed=True, ranks=[0], prefills=4)
    write_engagement(tmp_path, compressed=True, ranks=[1], prefills=3)
    assert faults(tmp_path) == [
        "the ranks differ: rank 0: 24 calls in 4 prefills of 10 tokens, rank 1: 18 calls in 3 prefills of 6 tokens"
    ]


def test_thousands_of_equal_faults_are_cut_short(tmp_path: Path) -> None:
    recorder = started(tmp_path)
    for _ in range(1000):
        prefill(recorder, ffn=0)
    found = faults(tmp_path, tp=1)
    assert len(found) == 4
    assert found[-1] == "and 997 more like these on the same rank"


def test_facts_that_the_ranks_do_not_share_are_left_out(tmp_path: Path) -> None:
    write_engagement(tmp_path, compressed=True, ranks=[0])
    write_engagement(tmp_path, compressed=True, ranks=[1], codec="none")
    shared = read(tmp_path).facts
    assert "codec" not in shared
    assert "rank" not in shared
    assert shared["sglang"] == FACTS["sglang"]


def test_every_line_of_a_log_is_whole_json(tmp_path: Path) -> None:
    write_engagement(tmp_path, compressed=True)
    lines = (tmp_path / "rank-0.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["rank"] == 0
    assert [json.loads(line)["mode"] for line in lines[1:]] == ["EXTEND", "DECODE"] * 4 + ["IDLE"]


def spared(recorder: Recorder, *, plain: int, how: str = "int8_token one_shot") -> None:
    """Make a prefill in which the FFN's sum of one layer is plain, and all others are compressed."""
    with recorder.forward("EXTEND", 5):
        for layer in range(LAYERS):
            count(recorder, "attention", 5, layer=layer)
            if layer == plain:
                recorder.count_plain("ffn", layer=layer, ring_bytes=10)
            else:
                sent = {"elements": 5 * WIDTH, "wire_bytes": WIDTH}
                recorder.count("ffn", layer=layer, how=how, quantized=True, **sent)


def test_a_policy_is_kept_where_it_says_plain_and_where_it_says_how(tmp_path: Path) -> None:
    spared(started(tmp_path), plain=1)
    policy = Policy(rules=(*POLICY.rules, Rule(choice=None, site="ffn", layers=(1,))))
    assert read(tmp_path, tp=1, policy=policy).faults == []


def test_a_sum_that_is_plain_where_the_policy_compresses_is_a_fault(tmp_path: Path) -> None:
    spared(started(tmp_path), plain=1)
    (fault,) = faults(tmp_path, tp=1)
    assert fault == (
        "rank 0: a prefill of 5 tokens made the sums of layers [0, 2] in ffn by int8_token one_shot, the policy says "
        "[0, 1, 2]"
    )


def test_another_codec_than_the_policys_is_a_fault(tmp_path: Path) -> None:
    spared(started(tmp_path), plain=1, how="int4_group32 one_shot")
    policy = Policy(rules=(*POLICY.rules, Rule(choice=None, site="ffn", layers=(1,))))
    (fault,) = read(tmp_path, tp=1, policy=policy).faults
    assert "by int4_group32 one_shot, the policy says []" in fault


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize(
    ("name", "said"),
    [("codec", "none"), ("implementation", "plain"), ("world_size", 1), ("sglang", "0.4"), ("algorithm", "two_shot")],
)
def test_ranks_that_say_something_else_than_the_plan(
    tmp_path: Path, name: str, said: Any, *, compressed: bool
) -> None:
    write_engagement(tmp_path, compressed=compressed, **{name: said})
    assert faults(tmp_path, compressed=compressed, **{name: FACTS[name]}) == [
        f"rank {rank} ran with {name}={said}, not {FACTS[name]}" for rank in (0, 1)
    ]


def test_sums_of_other_tensors_than_the_tokens_make(tmp_path: Path) -> None:
    recorder = started(tmp_path)
    with recorder.forward("EXTEND", 5):
        for layer in range(LAYERS):
            count(recorder, "attention", 5, layer=layer)
            count(recorder, "ffn", 4, layer=layer)
    assert faults(tmp_path, tp=1) == [
        "rank 0: a pass of 5 tokens compressed 96 elements in ffn; 3 sums of 8 a token have 120"
    ]


def attention_alone(folder: Path, *, ffn: int = 0) -> list[str]:
    prefill(recorder := started(folder), ffn=ffn)
    del recorder
    found = read_engagement(folder, tp=1, compressed=True, policy=POLICY, expected={}, sites=["attention"])
    return found.faults


def test_a_mixture_of_experts_is_proven_by_its_attention_alone(tmp_path: Path) -> None:
    assert attention_alone(tmp_path) == []
    assert "compressed 3 in attention, 0 in ffn" in read(tmp_path, tp=1).faults[0]


def test_a_sum_at_a_site_that_is_to_stay_exact_is_a_fault(tmp_path: Path) -> None:
    [fault] = attention_alone(tmp_path, ffn=1)
    assert f"compressed {LAYERS} in attention, 1 in ffn; the model has {LAYERS} layers" in fault
    assert fault.endswith("of which attention alone is to be compressed")


def test_a_flag_that_did_nothing_is_explained_by_release_and_class(tmp_path: Path) -> None:
    plan = make(tmp_path)
    arm = plan.arm("compressed")
    for rank in range(2):
        recorder = Recorder(tmp_path / "logs")
        recorder.start(rank, {**FACTS, "flag": True, "sglang": "0.5.16"})
        with recorder.forward("EXTEND", 5):
            pass
    found = prove(plan, arm, tmp_path / "logs", sglang="0.5.16").faults
    assert found[0].startswith(
        "SGLang 0.5.16 compresses nothing in LlamaForCausalLM: neither its attention nor its MLP"
    )
    assert "from 0.5.22 on it compresses attention and ffn" in found[0]
