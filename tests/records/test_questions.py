from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.records.questions import keep_prompts, read_prompts

PROMPTS = ["Is it 1?\n", "\x1b[31mred\u2028 \u202e </script>", ""]


def test_prompts_come_back_as_they_were(tmp_path: Path) -> None:
    file = tmp_path / "questions" / "mine.jsonl"
    keep_prompts(file, PROMPTS)
    assert read_prompts(file) == dict(enumerate(PROMPTS))


def test_they_are_kept_once(tmp_path: Path) -> None:
    file = tmp_path / "questions" / "mine.jsonl"
    keep_prompts(file, PROMPTS)
    keep_prompts(file, ["of a run that goes on"])
    assert read_prompts(file)[0] == PROMPTS[0]


def test_a_run_of_an_older_version_kept_none(tmp_path: Path) -> None:
    assert read_prompts(tmp_path / "questions" / "mine.jsonl") == {}


def test_a_line_that_is_no_question_is_named(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text('{"doc_id": 0, "prompt": "one"}\n{"doc_id": 1}\n')
    with pytest.raises(HarnessError, match=r"mine\.jsonl:2: is not a question"):
        read_prompts(file)
