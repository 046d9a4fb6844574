"""The real thing: SGLang on the CPU, TP 2, a real model, lm-eval, by the command that people use."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.config.suite import KnownAnswer, Model, ServerOptions, Source, Suite, TaskRun
from harness.config.thresholds import ModelThresholds, Threshold, Thresholds
from harness.places import cache
from harness.plan.make import make_plan
from harness.plan.options import Options
from harness.prepare.data import prepare
from harness.run import pipeline
from harness.run.display import Display
from harness.serve.guarded import MARK

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("server_python", "no_strays")]
ROOT = Path(__file__).resolve().parent.parent
LIMIT = 8
# A bound against hanging, and no claim of speed: other programs may run beside it.
PATIENCE_S = 600


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "harness", *arguments]


def accuracy(reports: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("accuracy", f"--limit={LIMIT}", f"--reports={reports}", *arguments),
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=4 * PATIENCE_S,
        check=False,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    if said := os.environ.get("HARNESS_FINISHED"):
        # What the same command left a moment ago in this checkout, and said: .ci/run, which looked at its exit code.
        output = Path(said).read_text(encoding="utf-8")
        folder = re.findall(r"^report: (.+)/report\.md$", output, re.MULTILINE)[-1]
        return subprocess.CompletedProcess(said, 2, output, ""), Path(folder)
    reports = tmp_path_factory.mktemp("reports")
    return accuracy(reports), reports / "latest"


@pytest.fixture(scope="module")
def report(finished: tuple[subprocess.CompletedProcess[str], Path]) -> dict[str, Any]:
    done, folder = finished
    assert (folder / "report.json").exists(), done.stdout + done.stderr
    content: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return content


def test_a_short_run_says_that_it_decides_nothing(
    finished: tuple[subprocess.CompletedProcess[str], Path], report: dict[str, Any]
) -> None:
    done, folder = finished
    assert done.returncode == report["exit_code"] == 2, done.stdout + done.stderr
    assert report["verdict"] == "INCONCLUSIVE"
    assert report["reasons"] == ["fidelity: decided from 64 texts on, here 16: too little data"]
    assert f"baseline: boolq: {LIMIT} questions in" in done.stdout
    # Nothing is worse than known.
    assert report["warnings"] == []
    assert "\nINCONCLUSIVE smollm2-cpu: " in done.stdout
    assert (folder / "report.md").read_text().startswith("# INCONCLUSIVE: smollm2-cpu\n")


def test_compression_ran_on_every_rank_and_site_and_in_the_baseline_nowhere(report: dict[str, Any]) -> None:
    for rank in report["arms"]["compressed"]["engagement"]["ranks"]:
        # GSM8K's questions are prefilled together.
        assert rank["prefills"] > LIMIT
        assert {site: done["calls"] for site, done in rank["sites"].items()} == {
            "attention": 30 * rank["prefills"],
            "ffn": 30 * rank["prefills"],
        }
        # 60 sums a token, of 576 values; one byte a value and one scale of four bytes go to the one peer.
        assert rank["elements"] == 60 * 576 * rank["prefill_tokens"]
        assert rank["wire_bytes"] == 60 * (576 + 4) * rank["prefill_tokens"]
        assert rank["decodes"] > 0
    ranks = report["arms"]["baseline"]["engagement"]["ranks"]
    assert [rank["calls"] for rank in ranks] == [0, 0]
    assert all(rank["prefills"] > LIMIT for rank in ranks)
    assert [rank["rank"] for rank in ranks] == [0, 1]


def test_the_arms_answered_the_same_questions_differently(
    finished: tuple[subprocess.CompletedProcess[str], Path], report: dict[str, Any]
) -> None:
    for name in ("boolq", "gsm8k"):
        assert report["tasks"][name]["n"] == LIMIT
    shift = report["tasks"]["boolq"]["paired"]["margin_shift"]
    # A plain all-reduce under the compressed arm's name would leave every margin where it was, to 1e-5.
    assert abs(shift["largest"]) > 0.01
    samples = [
        [json.loads(line) for line in (finished[1] / arm / "samples-boolq.jsonl").read_text().splitlines()]
        for arm in ("baseline", "compressed")
    ]
    assert [sample["prompt_hash"] for sample in samples[0]] == [sample["prompt_hash"] for sample in samples[1]]
    assert all(sample["prompt_hash"] for sample in samples[0])


def test_compression_moves_the_predictions_of_fixed_text_over_the_whole_vocabulary(
    finished: tuple[subprocess.CompletedProcess[str], Path], report: dict[str, Any]
) -> None:
    done, folder = finished
    fidelity = report["fidelity"]
    assert (fidelity["verdict"], fidelity["compressed"]["texts"]) == ("INCONCLUSIVE", 2 * LIMIT)
    assert fidelity["compressed"]["faults"] == []
    overall = fidelity["compressed"]["overall"]
    # A plain all-reduce would come to 0, INT8 in groups of 64 to 0.008; the 20 most likely tokens alone to 0.042.
    assert 0.05 < overall["kl"]["low"] < overall["kl"]["high"] < 0.1
    assert fidelity["compressed"]["positions"]["token 0"]["kl"]["mean"] > 0.5
    assert f"{overall['kl']['mean']:.3g} (" in done.stdout
    words = [json.loads(line) for line in (folder / "compressed" / "pieces.jsonl").read_text().splitlines()]
    worst = fidelity["compressed"]["worst"][0]
    assert {worst["follows"], worst["baseline"], worst["other"]} <= {piece["text"] for piece in words}
    # Prefill alone: every record is whole, and of the same tokens in both arms.
    tokens = [
        [json.loads(line)["tokens"] for line in (folder / arm / "fidelity.jsonl").read_text().splitlines()]
        for arm in ("baseline", "compressed")
    ]
    assert tokens[0] == tokens[1]
    assert all(2 <= len(text) <= 128 for text in tokens[0])


def test_the_arms_differ_in_the_flag_alone(report: dict[str, Any]) -> None:
    baseline, compressed = (report["arms"][arm]["server_args"] for arm in ("baseline", "compressed"))
    differing = {name for name in baseline if baseline[name] != compressed[name]}
    assert differing <= {"enable_quant_communications", "port", "nccl_port"}
    assert compressed["enable_quant_communications"] is True


def test_no_key_is_kept(finished: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    for file in finished[1].rglob("*.json*"):
        text = file.read_text()
        assert '"api_key":"<redacted>"' in text.replace('": "', '":"') or '"api_key"' not in text, file


def test_the_report_is_built_again_from_its_files(
    finished: tuple[subprocess.CompletedProcess[str], Path], report: dict[str, Any]
) -> None:
    folder = finished[1].resolve()
    (folder / "report.md").unlink()
    (folder / "report.json").unlink()
    done = subprocess.run(command("report", str(folder)), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert json.loads((folder / "report.json").read_text()) == report
    assert (folder / "report.md").exists()


def until_said(process: subprocess.Popen[str], text: str) -> Iterator[str]:
    assert process.stdout is not None
    for line in process.stdout:
        yield line
        if text in line:
            return
    pytest.fail(f"the run ended without saying {text!r}")


def start(reports: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command("accuracy", f"--reports={reports}", *arguments),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def rank_processes(parent: int) -> list[psutil.Process]:
    def is_rank(child: psutil.Process) -> bool:
        # A short-lived helper that ends between being listed and being asked is none.
        with suppress(psutil.Error):
            return "scheduler" in " ".join(child.cmdline())
        return False

    return [child for child in psutil.Process(parent).children(recursive=True) if is_rank(child)]


def test_a_rank_that_dies_in_the_middle_is_an_error_and_what_was_measured_stays(tmp_path: Path) -> None:
    with start(tmp_path) as process:
        list(until_said(process, "baseline: boolq: "))
        rank_processes(process.pid)[-1].kill()
        output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 3, output
    report = json.loads((tmp_path / "latest" / "report.json").read_text())
    assert report["verdict"] == "ERROR"
    assert report["reasons"][0].startswith("baseline: ")
    assert "the end of its log" in report["reasons"][0]
    answered = (tmp_path / "latest" / "baseline" / "requests.jsonl").read_text().splitlines()
    assert len(answered) >= 2
    assert "ERROR smollm2-cpu" in output


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.campaign), signal.SIGKILL]
)
def test_nothing_survives_a_run_that_is_stopped(tmp_path: Path, number: signal.Signals) -> None:
    with start(tmp_path) as process:
        list(until_said(process, "starting the server"))
        while not rank_processes(process.pid):
            # As long as the run itself waits for its server: a busy machine may take its time.
            assert process.poll() is None, f"the run ended before a rank was started: {process.communicate()[0]}"
            time.sleep(0.5)
        # They are found by it when the guard is killed too, and by `no_strays`.
        assert all(MARK in rank.environ() for rank in rank_processes(process.pid))
        tree = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        output, _ = process.communicate(timeout=PATIENCE_S)
    # After SIGKILL the guard cleans up on its own, a moment later, and is itself one of the tree.
    _, left = psutil.wait_procs(tree, timeout=PATIENCE_S)
    assert not left, f"still there: {[one.cmdline() for one in left]}"
    if number is not signal.SIGKILL:
        assert process.returncode == 130
        assert "interrupted" in output
        assert (
            json.loads((tmp_path / "latest" / "report.json").read_text())["reasons"][0] == "interrupted by the user"
        )


def test_a_plugin_that_sglang_cannot_see_is_refused_before_any_server(tmp_path: Path) -> None:
    folder = tmp_path / "plugin"
    (folder / "harness" / "sglang_plugin").mkdir(parents=True)
    # This package without the metadata that holds its entry point.
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "harness").symlink_to(ROOT / "harness")
    done = accuracy(tmp_path / "reports", PYTHONPATH=str(tmp_path / "bare"), HARNESS_PLUGIN_PATH=str(folder))
    assert done.returncode == 3
    assert "the plugin tp_compression_harness is not visible to" in done.stderr
    assert not list(tmp_path.glob("reports/*/baseline"))


# A random Qwen3 of a few layers, with the small model's tokenizer; prints how it continues a prompt.
RANDOM_QWEN3 = """
import json, shutil, sys, torch
from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM
source, out, prompt = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(source)
torch.manual_seed(0)
config = Qwen3Config(vocab_size=len(tokenizer), hidden_size=128, intermediate_size=256, num_hidden_layers=3,
                     num_attention_heads=4, num_key_value_heads=2, head_dim=32, max_position_embeddings=4096,
                     tie_word_embeddings=True)
model = Qwen3ForCausalLM(config).float().eval()
# Larger than the initializer's, or every continuation is as likely as the next.
for name, weight in model.named_parameters():
    if weight.ndim == 2:
        torch.nn.init.normal_(weight, std=0.2)
model.save_pretrained(out)
tokenizer.save_pretrained(out)
logits = model(**tokenizer(prompt, return_tensors="pt")).logits[0, -1]
best, worst = logits.argmax().item(), logits.argmin().item()
print(json.dumps([tokenizer.decode([best]), tokenizer.decode([worst])]))
"""


def test_qwen3_compresses_in_both_sites_too(
    tmp_path: Path, server_python: Path, display: Display, shims: Callable[[], dict[str, str]]
) -> None:
    """The architecture of the model that upstream's floor of 0.85 is about."""
    prompt = "The capital of France is"
    source = cache() / "models" / "SmolLM2-135M-Instruct"
    made = subprocess.run(
        [str(server_python), "-c", RANDOM_QWEN3, str(source), str(tmp_path / "qwen3"), prompt],
        env=shims(),
        capture_output=True,
        text=True,
        check=True,
    )
    right, wrong = json.loads(made.stdout.splitlines()[-1])
    suite = Suite(
        description="a random Qwen3",
        device="cpu",
        model=Model(name="random", path=str(tmp_path / "qwen3")),
        server=ServerOptions(
            tp=2,
            args=[
                "--attention-backend=torch_native",
                "--sampling-backend=pytorch",
                "--mem-fraction-static=0.3",
                "--max-total-tokens=4096",
                "--dtype=float32",
                "--random-seed=0",
            ],
            env={"SGLANG_USE_CPU_ENGINE": "1", "SGLANG_CPU_OMP_THREADS_BIND": "0|1", "HF_HUB_OFFLINE": "1"},
        ),
        known_answer=KnownAnswer(prompt=prompt, right=right, wrong=wrong),
        data=Source.PACKAGED,
        tasks={"boolq": TaskRun(questions=4)},
    )
    row = Threshold(metric="acc,none", report_only=True, source="a random model")
    thresholds = Thresholds(models={"random": ModelThresholds.model_validate({"boolq": row})})
    data = tmp_path / "data"
    manifest = prepare(Source.PACKAGED, data)
    options = Options(
        suite="random-qwen3",
        server_python=server_python,
        plugin_path=Path(os.environ["HARNESS_PLUGIN_PATH"]),
        reports=tmp_path / "reports",
    )
    plan = make_plan(suite, thresholds, options, data=data, data_manifest=manifest, repeat="-")
    report = pipeline.run(plan, display)
    assert report.verdict == "INCONCLUSIVE", report.reasons
    assert report.reasons[0].startswith("nothing was judged")
    for rank in report.arms["compressed"].engagement.ranks:
        assert {site: done.calls for site, done in rank.sites.items()} == {
            "attention": 3 * rank.prefills,
            "ffn": 3 * rank.prefills,
        }
