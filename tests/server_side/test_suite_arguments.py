"""Every suite's server arguments, parsed by the installed SGLang's own parser."""

from pathlib import Path

import pytest
import yaml

from harness.sglang_plugin.probe import answer

SUITES = sorted((Path(__file__).resolve().parents[2] / "suites" / "accuracy").glob("*.yaml"))


def arguments(suite: Path) -> tuple[str, list[str]]:
    content = yaml.safe_load(suite.read_text())
    server = content["server"]
    fixed = [
        "--model-path",
        "m",
        "--device",
        content["device"],
        "--tp-size",
        str(server["tp"]),
        "--port",
        "1",
    ]
    return content.get("compression", {}).get("codec", "int8_token"), [*fixed, *server["args"]]


@pytest.mark.parametrize("suite", SUITES, ids=lambda file: file.stem)
def test_the_parser_takes_both_arms(suite: Path) -> None:
    codec, baseline = arguments(suite)
    arms = {"baseline": baseline, "compressed": [*baseline, "--enable-quant-communications"]}
    found = answer({"arms": arms, "codecs": [codec], "candidates": []})
    assert [problem for problem in found["problems"] if "not visible" not in problem] == []
    assert found["sglang"]
    assert {"tp_size", "enable_quant_communications", "port"} <= set(found["settings"])


def test_an_implementation_under_test_and_its_claim_are_looked_up() -> None:
    arms: dict[str, list[str]] = {}
    codec = "tests.broken_codecs.plain:all_reduce"
    assert not [
        one
        for one in answer({"arms": arms, "codecs": [codec, "int8_token"], "candidates": []})["problems"]
        if "codec" in one
    ]
    problems = answer({"arms": arms, "codecs": ["no.such.module:f", "int9"], "candidates": []})["problems"]
    assert "the codec 'no.such.module:f' cannot be used: No module named 'no'" in problems
    assert any(entry.startswith("the codec 'int9' cannot be used: no codec is named 'int9'") for entry in problems)


def test_arguments_that_it_does_not_know_are_refused_by_name() -> None:
    arms = {"baseline": ["--model-path", "m", "--no-such-argument", "32"], "compressed": ["--no-such-flag"]}
    found = answer({"arms": arms, "codecs": ["no-such-codec"], "candidates": []})
    text = "\n".join(found["problems"])
    assert "refuses the baseline arm's arguments: unrecognized arguments: --no-such-argument" in text
    assert "refuses the compressed arm's arguments" in text
    assert "the codec 'no-such-codec' cannot be used" in text


@pytest.mark.parametrize(
    ("left_out", "says"),
    [
        ("--cuda-graph-backend-prefill", "prefills would be replayed from CUDA graphs"),
        ("--enforce-disable-flashinfer-allreduce-fusion", "FlashInfer may fuse attention's sum"),
    ],
)
def test_a_cuda_suite_without_what_shows_its_sums_is_refused(left_out: str, says: str) -> None:
    [suite] = [file for file in SUITES if file.stem == "smollm2-cuda"]
    codec, whole = arguments(suite)
    kept = [entry for entry in whole if not entry.startswith(left_out)]
    assert len(kept) == len(whole) - 1
    problems = answer({"arms": {"baseline": kept, "compressed": kept}, "codecs": [codec], "candidates": []})[
        "problems"
    ]
    assert [entry.startswith(says) for entry in problems if "not visible" not in entry] == [True]


@pytest.mark.parametrize(
    "prefill",
    [
        "--disable-prefill-cuda-graph",
        '--cuda-graph-config={"prefill": {"backend": "disabled"}}',
        "--disable-piecewise-cuda-graph",
    ],
)
def test_prefill_graphs_may_be_off_in_any_way(prefill: str) -> None:
    takes = answer({"arms": {"any": ["--model-path=m", prefill]}, "codecs": [], "candidates": []})["problems"]
    if any("unrecognized arguments" in problem for problem in takes):
        pytest.skip("this release has no such argument")
    arms = {"baseline": ["--model-path=m", "--device=cuda", "--enforce-disable-flashinfer-allreduce-fusion", prefill]}
    assert [
        one
        for one in answer({"arms": arms, "codecs": ["none"], "candidates": []})["problems"]
        if "not visible" not in one
    ] == []


def test_an_argument_that_was_renamed_is_given_under_the_name_that_this_release_knows() -> None:
    renamed = {"--cuda-graph-max-bs-decode=32": "--cuda-graph-max-bs=32"}
    arms = {"baseline": ["--model-path=m", *renamed]}
    found = answer({"arms": arms, "codecs": [], "candidates": []})
    assert not any("refuses" in problem for problem in found["problems"])
    # Up to 0.5.13 there is no limit for decode alone.
    assert found["spelled"] == ({} if "cuda_graph_max_bs_decode" in found["settings"] else renamed)


@pytest.mark.parametrize(
    "argument", ["--enable-dp-attention", "--dp-size=2", "--pp-size=2", "--nnodes=2", "--moe-a2a-backend=deepep"]
)
def test_work_that_is_shared_in_another_way_is_refused_with_the_reason(argument: str) -> None:
    found = answer({"arms": {"baseline": ["--model-path=m", argument]}, "codecs": [], "candidates": []})
    name = argument.partition("=")[0]
    assert [problem for problem in found["problems"] if problem.startswith(f"{name}: ")]


@pytest.mark.parametrize("argument", ["--hos=0.0.0.0", "--api=k", "--trust-remote"])
def test_beginnings_of_arguments_are_refused(argument: str) -> None:
    found = answer({"arms": {"baseline": ["--model-path=m", argument]}, "codecs": [], "candidates": []})
    assert any(f"unrecognized arguments: {argument}" in problem for problem in found["problems"])


@pytest.mark.parametrize(
    "argument",
    [
        "--enable-hierarchical-cache",
        "--enable-lmcache",
        "--hicache-storage-backend=file",
        "--enable-mixed-chunk",
        "--disaggregation-mode=decode",
    ],
)
def test_what_makes_answers_rest_on_other_prefills_is_refused(argument: str) -> None:
    arms = {"baseline": ["--model-path=m", "--device=cpu", argument]}
    found = answer({"arms": arms, "codecs": [], "candidates": []})
    name = argument.split("=", maxsplit=1)[0]
    assert [problem for problem in found["problems"] if problem.startswith(f"{name} ")]
