"""A dry run shows everything, does nothing, and ends as the run would."""

from pathlib import Path

from harness.cli import ready
from harness.config.suite import Source
from harness.errors import NotFetchedError
from tests.cli.harness import WILLING, Harness
from tests.support import GSM8K_ROWS, PASSAGES, make_options, write_interpreter, write_rows


def test_a_dry_run_ends_as_the_run_would(harness: Harness) -> None:
    nowhere = harness.accuracy("--data-folder", "/nowhere", "--dry-run")
    assert nowhere.code == 3
    assert nowhere.err.startswith("ERROR\nthere is no folder /nowhere: it would hold boolq/validation.jsonl")
    # The stand-in's SGLang cannot be asked: so it is in the run.
    broken = harness.accuracy("--dry-run")
    assert broken.code == 3
    assert "ERROR on this machine the run would be refused: " in broken.out
    assert "cannot examine its SGLang (exit code 9)" in broken.out
    assert harness.accuracy("--dry-run", "--model-path", "./nowhere").code == 3


def test_a_dry_run_asks_no_hub(harness: Harness) -> None:
    write_interpreter(harness.folder / "bin", WILLING)
    options = make_options(harness.folder)

    def prepared(source: Source, place: Path, *, fetch: bool = True, **_options: object) -> dict[str, object]:
        if source is Source.HUB:
            assert not fetch
            raise NotFetchedError("the hub's data is not here yet")
        problems = [{"question": f"What is {number}?", "answer": f"#### {number}"} for number in range(70)]
        write_rows(place / "gsm8k" / "test.jsonl", problems)
        passages = [{**PASSAGES[0], "passage": f"It is {number}."} for number in range(70)]
        write_rows(place / "boolq" / "validation.jsonl", passages)
        return {"source": "packaged", "origin": "x", "files": {}}

    harness.monkeypatch.setattr(ready, "prepare_data", prepared)
    ran = harness(
        *("accuracy", "--suite", "qwen3-8b-npu", "--dry-run", "--server-python", str(options.server_python)),
        *("--plugin-path", str(options.plugin_path), "--model-path", str(options.model_path)),
    )
    assert ran.out.startswith("the hub's data is not here yet\nThe requests below are made of the packaged data")
    assert "gsm8k: 64 questions on each arm" in ran.out


def test_a_data_folder_alone_is_meant_and_one_beside_another_source_is_refused(harness: Harness) -> None:
    write_interpreter(harness.folder / "bin", WILLING)
    options = make_options(harness.folder)
    write_rows(harness.folder / "mine" / "gsm8k" / "test.jsonl", GSM8K_ROWS)
    write_rows(harness.folder / "mine" / "boolq" / "validation.jsonl", PASSAGES)
    usual = (
        *("accuracy", "--dry-run", "--limit", "3", "--server-python", str(options.server_python)),
        *("--plugin-path", str(options.plugin_path), "--model-path", str(options.model_path)),
        *("--data-folder", str(harness.folder / "mine")),
    )
    ran = harness(*usual)
    assert ran.code == 0, ran.out
    assert ran.out.startswith(f"data: folder ({harness.folder / 'mine'}): boolq/validation.jsonl 4 rows, SHA-256 ")
    refused = harness(*usual, "--data", "packaged")
    assert refused.code == 3
    assert "beside --data packaged, which reads no folder" in refused.err


def test_an_all_reduce_from_a_file(harness: Harness) -> None:
    write_interpreter(harness.folder / "bin", WILLING)
    harness.monkeypatch.chdir(harness.folder)
    ran = harness.accuracy("--dry-run", "--codec", "./my_reduce.py:f", "--claims", "int8_group64")
    assert ran.code == 0, ran.out
    assert f"HARNESS_PLUGIN_CODEC={harness.folder}/my_reduce.py:f" in ran.out
    assert "HARNESS_PLUGIN_CLAIMS=int8_group64" in ran.out
    without = harness.accuracy("--dry-run", "--codec", "./my_reduce.py:f")
    assert without.code == 3
    assert "say with `claims` which codec's bound applies" in without.err


def test_a_dry_run_shows_everything_and_does_nothing(harness: Harness) -> None:
    write_interpreter(harness.folder / "bin", WILLING)
    ran = harness.accuracy("--dry-run")
    assert ran.code == 0, ran.out
    assert ran.out.count('--config "$KEY_FILE"') == 2
    assert ran.out.startswith(f"data: folder ({harness.folder / 'own'}): boolq/validation.jsonl 4 rows, SHA-256 ")
    assert "expected time: unknown: there is no finished run of smollm2-cpu in" in ran.out
    assert ran.out.count("--enable-quant-communications") == 1
    assert "boolq: 3 questions on each arm, 16 at a time" in ran.out
    assert "gsm8k: 3 questions on each arm, 16 at a time" in ran.out
    assert "What is 5 and 1?\\nAnswer:'" in ran.out
    assert "'report_only': True" in ran.out
    assert "  order: 'rows by the SHA-256 of seed and number, seed 0" in ran.out
    assert "fidelity: 6 texts on each arm, 8 at a time" in ran.out
    assert "  texts: {'gsm8k': 3, 'boolq': 3}" in ran.out
    assert not (harness.folder / "reports").exists()
