import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import ConfigError, HarnessError
from harness.plan.model_folder import check_model, folder_problems, weights_problem
from tests.support import safetensors, write_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model")


def messages(folder: Path) -> list[str]:
    return [str(problem).removeprefix(str(folder)).lstrip("/:").strip() for problem in folder_problems(folder)]


def test_a_whole_folder_is_given_as_an_absolute_path(model: Path) -> None:
    assert check_model("model", model.parent) == str(model)
    assert check_model(str(model), Path("/nowhere")) == str(model)
    assert check_model("../model", model) == str(model)


def test_a_folder_with_two_names_is_taken_before_the_hub(model: Path) -> None:
    assert check_model(f"{model.parent.name}/model", model.parent.parent) == str(model)


@pytest.mark.parametrize("name", ["Qwen/Qwen3-8B", "LLM-Research/Llama-2-7B", "a_b/c.d-e"])
def test_a_hub_name_is_passed_on(tmp_path: Path, name: str) -> None:
    assert check_model(name, tmp_path) == name


@pytest.mark.parametrize("path", ["model", "./a/b", "../b", "/a/b", ".cache/model", "a/b/c", "a b/c", "a/"])
def test_what_is_neither_folder_nor_hub_name(tmp_path: Path, path: str) -> None:
    with pytest.raises(HarnessError, match=r"^there is no model folder at .*--model-path$"):
        check_model(path, tmp_path)


def test_a_file_is_no_folder(model: Path) -> None:
    with pytest.raises(HarnessError, match="there is no model folder"):
        check_model(str(model / "config.json"), model)


def test_all_problems_of_a_folder_at_once(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError) as caught:
        check_model("empty", tmp_path)
    folder = tmp_path / "empty"
    assert str(caught.value).splitlines() == [
        f"{folder / 'config.json'}: cannot be read: No such file or directory",
        f"{folder}: holds no tokenizer",
        f"{folder}: holds no weights (*.safetensors or *.bin)",
    ]


def test_a_broken_config(model: Path) -> None:
    (model / "config.json").write_text('{"architectures": ')
    (problem,) = messages(model)
    assert problem.startswith("config.json: is not JSON: ")


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer.model", "vocab.json"])
def test_any_form_of_tokenizer_will_do(model: Path, name: str) -> None:
    (model / "tokenizer.json").unlink()
    assert messages(model) == ["holds no tokenizer"]
    (model / name).write_text("")
    assert messages(model) == []


def test_older_weights_will_do(model: Path) -> None:
    (model / "model.safetensors").unlink()
    assert messages(model) == ["holds no weights (*.safetensors or *.bin)"]
    (model / "pytorch_model.bin").write_bytes(b"")
    assert messages(model) == []


def test_each_file_of_weights_is_looked_at(model: Path) -> None:
    (model / "model-1.safetensors").write_bytes(safetensors()[:-1])
    (model / "model-2.safetensors").write_bytes(b"")
    first, second = messages(model)
    whole = len(safetensors())
    assert first == f"model-1.safetensors: is {whole - 1} bytes long, its header says {whole}: copy it again"
    assert second.startswith("model-2.safetensors: is not a safetensors file: ")


@pytest.mark.parametrize("length", range(0, len(safetensors()), 5))
def test_wherever_the_file_was_cut_off(tmp_path: Path, length: int) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(safetensors()[:length])
    problem = weights_problem(file)
    assert problem is not None
    assert problem.file == file


def test_a_file_longer_than_its_header_says(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(safetensors() + b"x")
    assert "copy it again" in str(weights_problem(file))


def test_a_whole_file(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    header = json.dumps(
        {
            "__metadata__": {"format": "pt"},
            "b": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]},
            "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        }
    ).encode()
    file.write_bytes(struct.pack("<Q", len(header)) + header + bytes(16))
    assert weights_problem(file) is None


@pytest.mark.parametrize("header", [b"[]", b"3", b"{}", b'{"w": 3}', b'{"w": {}}', b"\xff\xfe", b"{", b"null"])
def test_a_header_that_is_none(tmp_path: Path, header: bytes) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(struct.pack("<Q", len(header)) + header)
    assert "is not a safetensors file" in str(weights_problem(file))


def test_a_web_page_in_place_of_weights(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1234\nsize 9\n")
    assert "its header is longer than the file" in str(weights_problem(file))


Shards = Callable[[object], None]


@pytest.fixture
def index(model: Path) -> Shards:
    def write(content: object) -> None:
        (model / "model.safetensors.index.json").write_text(json.dumps(content))

    return write


def test_every_shard_of_the_index_must_be_there(model: Path, index: Shards) -> None:
    names = ["model.safetensors", "model-2.safetensors", "model-3.safetensors", "model-3.safetensors"]
    index({"weight_map": {f"layer {number}": name for number, name in enumerate(names)}})
    assert messages(model) == [
        "model-2.safetensors: is missing, model.safetensors.index.json names it",
        "model-3.safetensors: is missing, model.safetensors.index.json names it",
    ]
    for name in names:
        (model / name).write_bytes(safetensors())
    assert messages(model) == []


@pytest.mark.parametrize("content", [[], {}, {"weight_map": 3}, {"weight_map": {"w": 3}}])
def test_an_index_that_is_none(model: Path, index: Shards, content: object) -> None:
    index(content)
    (problem,) = messages(model)
    assert problem.startswith("model.safetensors.index.json: is not an index of weights")
