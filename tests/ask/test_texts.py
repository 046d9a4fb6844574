import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from harness.ask.texts import build_texts
from harness.errors import HarnessError


def write(file: Path, rows: Sequence[Mapping[str, object]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    solved = [
        {"question": f"What is {number} + 1?", "answer": f"It is {number + 1}.\n#### {number + 1}"}
        for number in range(3)
    ]
    write(tmp_path / "gsm8k" / "test.jsonl", solved)
    # Several questions share a passage.
    asked = [{"question": f"q{number}", "passage": f"Passage {number // 2}.", "label": 1} for number in range(6)]
    write(tmp_path / "boolq" / "validation.jsonl", asked)
    return tmp_path


def test_the_first_texts_of_each_source(data: Path) -> None:
    texts = build_texts(data, {"gsm8k": 1, "boolq": 2})
    assert [(move.name, move.content) for move in texts] == [
        ("gsm8k/0", "What is 0 + 1?\nIt is 1.\n#### 1"),
        ("boolq/0", "Passage 0."),
        ("boolq/1", "Passage 1."),
    ]
    assert len({move.hash for move in texts}) == 3
    assert build_texts(data, {"gsm8k": 1, "boolq": 2}) == texts


def test_texts_of_somebodys_own_are_counted_once_too(data: Path) -> None:
    own = {"mine": ["Is it so? yes", "Is it so? yes", "Why? because"]}
    texts = build_texts(data, {"boolq": 1, "mine": 2}, own)
    assert [(text.name, text.content) for text in texts] == [
        ("boolq/0", "Passage 0."),
        ("mine/0", "Is it so? yes"),
        ("mine/1", "Why? because"),
    ]
    with pytest.raises(HarnessError, match=r"fidelity: 3 texts of mine are asked for, the data in .* has 2"):
        build_texts(data, {"mine": 3}, own)


def test_all_that_is_missing_comes_at_once(data: Path) -> None:
    (data / "gsm8k" / "test.jsonl").unlink()
    with pytest.raises(HarnessError) as caught:
        build_texts(data, {"gsm8k": 1, "boolq": 4})
    first, second = str(caught.value).splitlines()
    assert first.endswith("gsm8k/test.jsonl cannot be read: No such file or directory")
    assert second == f"fidelity: 4 texts of boolq are asked for, the data in {data} has 3"
