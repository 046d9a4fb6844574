"""SGLang is imported for its arguments once for each thing asked, and never for what is refused."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.sglang_plugin.asked_before import UNUSED_S, keep, place_of, recall

ASK = """
import json, sys
from harness.sglang_plugin.probe import answer
found = answer(json.load(sys.stdin))
json.dump([found, "sglang.srt.server_args" in sys.modules], open(sys.argv[1], "w"))
"""


def ask(folder: Path, *arguments: str, codec: str = "int8_token", **env: str) -> tuple[dict[str, Any], bool]:
    request = {
        "arms": {"baseline": ["--model-path", "model", *arguments]},
        "codecs": [codec],
        "candidates": [],
        "kept": str(folder / "kept"),
    }
    subprocess.run(
        [sys.executable, "-c", ASK, str(folder / "answer.json")],
        input=json.dumps(request),
        env={**os.environ, **env},
        text=True,
        check=True,
        capture_output=True,
    )
    found, imported = json.loads((folder / "answer.json").read_text())
    return found, imported


@pytest.fixture
def visible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry point of the plugin's name, as the folder that nox makes has it."""
    about = tmp_path / "path" / "plugin-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[sglang.srt.plugins]\ntp_compression_harness = harness:nothing\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((os.environ["PYTHONPATH"], str(tmp_path / "path"))))


@pytest.mark.usefixtures("visible")
def test_an_answer_is_kept_and_serves_what_is_asked_alike(tmp_path: Path) -> None:
    first, imported = ask(tmp_path, "--tp-size", "2")
    assert (first["problems"], imported) == ([], True)
    assert "tp_size" in first["settings"]
    assert ask(tmp_path, "--tp-size", "2") == (first, False)
    # Other arguments, another environment: another answer.
    assert ask(tmp_path, "--tp-size", "1")[1]
    assert ask(tmp_path, "--tp-size", "2", SGLANG_ANYTHING="1")[1]
    assert len(list((tmp_path / "kept").iterdir())) == 3


@pytest.mark.usefixtures("visible")
def test_a_refusal_is_not_kept(tmp_path: Path) -> None:
    for _ in range(2):
        found, imported = ask(tmp_path, "--no-such-argument")
        assert imported
        assert "--no-such-argument" in found["problems"][0]


def test_what_may_have_changed_has_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = place_of(str(tmp_path), "asked")
    assert here is not None
    assert place_of(str(tmp_path), "asked otherwise") != here
    assert place_of(None, "asked") is None
    monkeypatch.setenv("HARNESS_PLUGIN_DIR", "of another run")
    assert place_of(str(tmp_path), "asked") == here
    # A working copy is elsewhere than packages are.
    (tmp_path / "sglang").mkdir()
    (tmp_path / "sglang" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "sglang", raising=False)
    assert place_of(str(tmp_path), "asked") is None


def test_broken_and_forgotten_answers(tmp_path: Path) -> None:
    place, old = tmp_path / "kept" / "a.json", tmp_path / "kept" / "b.json"
    assert recall(place) is None
    keep(old, {"settings": []})
    os.utime(old, (0, old.stat().st_mtime - UNUSED_S - 1))
    keep(place, {"settings": ["tp_size"]})
    assert recall(place) == {"settings": ["tp_size"]}
    assert not old.exists()
    place.write_text("{")
    assert recall(place) is None
    place.write_text("[]")
    assert recall(place) is None
    keep(None, {})
