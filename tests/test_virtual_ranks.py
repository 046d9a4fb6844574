"""Virtual ranks against real ones: what a server of one rank, cut into N, predicts is what N ranks predict."""

import dataclasses
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import mean
from typing import Any
from urllib.request import Request, urlopen

import pytest

from harness.ask.texts import build_texts
from harness.config.load import load
from harness.config.suite import Source
from harness.plan.make import make_plan
from harness.plan.options import Options
from harness.plan.plan import BASELINE, COMPRESSED
from harness.prepare.data import prepare
from harness.serve.server import Server, Start, running
from harness.sglang_plugin.policy import Choice, Policy, Rule, uniform
from harness.sglang_plugin.study_folder import hash_tokens, write_policy, write_texts

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.usefixtures("no_strays")]
LAYERS, WIDTH, TEXTS, TOP = 30, 576, 8, 5
INT8 = Choice(codec="int8_token")
REFERENCE, PLAIN, COARSE, ONE_SITE, PLAIN_AGAIN = range(1, 6)
POLICIES = {
    REFERENCE: uniform(None, predictions="reference"),
    PLAIN: uniform(None, predictions="compare"),
    COARSE: uniform(INT8, predictions="compare"),
    ONE_SITE: Policy(rules=(Rule(choice=INT8, site="ffn", layers=(11,)),), predictions="compare"),
    PLAIN_AGAIN: uniform(None, predictions="compare"),
}


@dataclasses.dataclass
class Seen:
    """What one server showed.

    Attributes:
        dtype: The model's.
        logprobs: By policy, of each text's tokens but the first: their log-probabilities.
        tops: By policy, the same of the most likely tokens.
        compared: By policy, the lines of predictions.jsonl by text.
        passes: By policy, the prefills that rank 0 logged.
    """

    dtype: str
    logprobs: dict[int, list[list[float]]]
    tops: dict[int, list[list[float]]]
    compared: dict[int, dict[str, dict[str, Any]]]
    passes: dict[int, list[dict[str, Any]]]


@contextmanager
def serving(folder: Path, python: Path, *, ranks: int, virtual: bool, dtype: str) -> Iterator[tuple[Server, Path]]:
    """Start the default suite's server with real ranks and the flag, or with one rank that is cut."""
    suite, thresholds = load("smollm2-cpu")
    cores = sorted(os.sched_getaffinity(0))
    bound = [cores] if virtual else [[cores[rank % len(cores)]] for rank in range(ranks)]
    env = {
        **suite.server.env,
        "SGLANG_CPU_OMP_THREADS_BIND": "|".join(",".join(map(str, ours)) for ours in bound),
        "OMP_NUM_THREADS": str(len(bound[0])),
    }
    args = [f"--dtype={dtype}" if argument.startswith("--dtype") else argument for argument in suite.server.args]
    server = suite.server.model_copy(update={"tp": 1 if virtual else ranks, "env": env, "args": args})
    options = Options(
        suite="smollm2-cpu",
        server_python=python,
        plugin_path=Path(os.environ["HARNESS_PLUGIN_PATH"]),
        reports=folder,
    )
    plan = make_plan(
        suite.model_copy(update={"server": server}),
        thresholds,
        options,
        data=folder,
        data_manifest={},
        repeat="-",
    )
    arm = plan.arm(BASELINE if virtual else COMPRESSED)
    settings = dataclasses.replace(arm.settings, virtual_ranks=ranks if virtual else 0, codec="plain")
    arm = arm.model_copy(update={"env": {**arm.env, **settings.env()}})
    logs = Path(arm.engagement)
    logs.mkdir(parents=True)
    start = Start(
        tp=1 if virtual else ranks, known_answer=plan.known_answer, start_timeout_s=900, request_timeout_s=600
    )
    with running(arm, start, folder / "server.log", lambda _text: None) as up:
        yield up, logs


def served(server: Server, texts: list[list[int]]) -> list[dict[str, Any]]:
    """Return what SGLang itself says of each text's tokens: `input_token_logprobs`, `input_top_logprobs`."""
    body = {
        "input_ids": texts,
        "sampling_params": {"temperature": 0.0, "max_new_tokens": 0},
        "return_logprob": True,
        "logprob_start_len": 0,
        "top_logprobs_num": TOP,
    }
    headers = {"Authorization": f"Bearer {server.client.api_key}", "Content-Type": "application/json"}
    request = Request(f"{server.client.url}/generate", json.dumps(body).encode(), headers)  # noqa: S310 - our own server
    with urlopen(request, timeout=600) as answer:  # noqa: S310 - as above
        return [entry["meta_info"] for entry in json.load(answer)]


def look(folder: Path, python: Path, *, ranks: int, virtual: bool, dtype: str) -> Seen:
    """Let one server predict the same texts under every policy.

    In bf16 one after the other: of hundreds of tokens at once oneDNN makes products whose last bits depend on how
    many columns there are and on threads, in layers that are not cut into virtual ranks.
    """
    data = folder / "data"
    prepare(Source.PACKAGED, data)
    contents = [text.content for text in build_texts(data, {"gsm8k": TEXTS // 2, "boolq": TEXTS // 2})]
    seen = Seen(dtype, {}, {}, {}, {})
    with serving(folder, python, ranks=ranks, virtual=virtual, dtype=dtype) as (server, logs):
        texts = [server.client.tokenize(content)[:96] for content in contents]
        write_texts(logs, texts)
        for number, policy in POLICIES.items():
            server.client.flush_cache()
            write_policy(logs, dataclasses.replace(policy, number=number))
            at_once = 1 if dtype == "bfloat16" else len(texts)
            found: list[dict[str, Any]] = []
            for start in range(0, len(texts), at_once):
                found += served(server, texts[start : start + at_once])
            seen.logprobs[number] = [[entry[0] for entry in text["input_token_logprobs"][1:]] for text in found]
            seen.tops[number] = [
                [entry[0] for entries in text["input_top_logprobs"][1:] for entry in entries] for text in found
            ]
        lines = [json.loads(line) for line in (logs / "predictions.jsonl").read_text().splitlines()]
        ranks_logged = [
            # But for the time, ranks log the same.
            [
                {name: value for name, value in json.loads(line).items() if name != "seconds"}
                for line in (logs / f"rank-{rank}.jsonl").read_text().splitlines()[1:]
            ]
            for rank in range(1 if virtual else ranks)
        ]
    assert all(rank == ranks_logged[0] for rank in ranks_logged)
    for number in POLICIES:
        by_text = {entry["text"]: entry for entry in lines if entry["policy"] == number}
        seen.compared[number] = {hash_tokens(text): by_text.pop(hash_tokens(text)) for text in texts}
        assert not by_text
        seen.passes[number] = [
            rank for rank in ranks_logged[0] if rank["policy"] == number and rank["mode"] == "EXTEND"
        ]
    return seen


def furthest(one: list[list[float]], other: list[list[float]]) -> float:
    mine, theirs = ([value for text in entry for value in text] for entry in (one, other))
    return max(abs(a - b) for a, b in zip(mine, theirs, strict=True))


def mean_kl(seen: Seen, policy: int) -> float:
    found: list[float] = [kl for found in seen.compared[policy].values() for kl in found["kl"]]
    return mean(found)


# Each case starts a real server and a virtual one, and takes minutes.
CAMPAIGN = pytest.mark.campaign


@pytest.fixture(
    scope="module",
    params=[
        (2, "float32"),
        pytest.param((3, "float32"), marks=CAMPAIGN),
        pytest.param((2, "bfloat16"), marks=CAMPAIGN),
    ],
    ids=str,
)
def both(
    request: pytest.FixtureRequest, server_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Seen, Seen]:
    """What real and virtual ranks show."""
    ranks, dtype = request.param
    real, virtual = (
        look(tmp_path_factory.mktemp(name), server_python, ranks=ranks, virtual=is_virtual, dtype=dtype)
        for name, is_virtual in (("real", False), ("virtual", True))
    )
    return real, virtual


@pytest.mark.parametrize("policy", [PLAIN, COARSE, ONE_SITE])
def test_virtual_ranks_predict_what_real_ones_do(both: tuple[Seen, Seen], policy: int) -> None:
    real, virtual = both
    assert furthest(real.logprobs[policy], virtual.logprobs[policy]) < 1e-5
    assert furthest(real.tops[policy], virtual.tops[policy]) < 1e-5
    # What compression does is thousands of times as much: one of another codec, cut or site would not pass.
    if policy != PLAIN:
        assert furthest(virtual.logprobs[PLAIN], virtual.logprobs[policy]) > 0.1


def test_both_measure_the_same_divergence_over_the_whole_vocabulary(both: tuple[Seen, Seen]) -> None:
    for policy in (COARSE, ONE_SITE):
        real, virtual = (mean_kl(seen, policy) for seen in both)
        assert virtual == pytest.approx(real, rel=1e-3)
        assert virtual > 0.005
    for seen in both:
        for policy in (PLAIN, PLAIN_AGAIN):
            # Policies leave nothing behind: after others, plain sums give the first answers exactly.
            assert all(kl == 0 for found in seen.compared[policy].values() for kl in found["kl"])
            assert seen.logprobs[policy] == seen.logprobs[REFERENCE]
        for found, logprobs in zip(seen.compared[COARSE].values(), seen.logprobs[COARSE], strict=True):
            # What SGLang serves of a bf16 model has logits of bf16.
            assert found["candidate"] == pytest.approx(logprobs, abs=1e-4 if seen.dtype == "float32" else 0.2)
            assert found["reference"] == REFERENCE


def test_every_sum_is_counted_under_the_policy_that_made_it(both: tuple[Seen, Seen]) -> None:
    every, int8 = list(range(LAYERS)), "int8_token one_shot"
    for seen in both:
        for policy, made in (
            (PLAIN, {"attention": {"plain": every}, "ffn": {"plain": every}}),
            (COARSE, {"attention": {int8: every}, "ffn": {int8: every}}),
            (ONE_SITE, {"attention": {"plain": every}, "ffn": {int8: [11], "plain": every[:11] + every[12:]}}),
        ):
            assert seen.passes[policy]
            for pass_ in seen.passes[policy]:
                assert {site: counts["layers"] for site, counts in pass_["sites"].items()} == made
    real, virtual = both
    assert [pass_["sites"] for pass_ in real.passes[COARSE]] == [pass_["sites"] for pass_ in virtual.passes[COARSE]]
