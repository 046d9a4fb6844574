from itertools import pairwise
from pathlib import Path

import pytest
from pydantic import Field

from harness.config.yaml_file import YamlFile
from harness.errors import ConfigError
from harness.strict import Strict


class Inner(Strict):
    count: int
    share: float = 0.5


class Outer(Strict):
    name: str
    inner: Inner
    many: list[Inner] = Field(default_factory=list)


def refused(file: Path, text: str | bytes) -> list[str]:
    """Return each problem as `line: key: message`."""
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigError) as caught:
        YamlFile(file, Outer)
    prefix = str(file)
    assert str(caught.value).splitlines()[0].startswith(prefix)
    return [str(problem).removeprefix(prefix).lstrip(":").strip() for problem in caught.value.problems]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "some.yaml"


def test_a_good_file_is_read(file: Path) -> None:
    file.write_text("name: a\ninner: {count: 3}\nmany:\n  - count: 1\n    share: 1\n")
    content = YamlFile(file, Outer).content
    assert content == Outer(name="a", inner=Inner(count=3), many=[Inner(count=1, share=1.0)])


def test_all_problems_at_once_each_on_its_own_line(file: Path) -> None:
    text = "name: 3\ninner:\n  count: '3'\n  colour: red\n"
    found = refused(file, text + "many:\n  - share: 1\n  - count: 2\n    size: 4\nextra: 1\n")
    assert [one.split(": ")[:2] for one in found] == [
        ["1", "name"],
        ["3", "inner.count"],
        ["4", "inner.colour"],
        ["6", "many.0.count"],
        ["8", "many.1.size"],
        ["9", "extra"],
    ]
    assert found[0].endswith("should be a valid string")
    assert found[2].endswith("is not a known key")
    assert found[3].endswith("is missing")


def test_a_missing_key_is_placed_at_its_parent(file: Path) -> None:
    assert refused(file, "name: a\n\ninner:\n  share: 0.1\n") == ["3: inner.count: is missing"]


def test_a_missing_top_level_key_has_no_line(file: Path) -> None:
    assert refused(file, "inner: {count: 1}\n") == ["name: is missing"]


def test_a_repeated_key_is_refused_where_it_stands_again(file: Path) -> None:
    assert refused(file, "name: a\ninner:\n  count: 1\n  count: 2\nname: b\n") == [
        "4: inner.count: stands here a second time",
        "5: name: stands here a second time",
    ]


@pytest.mark.parametrize("value", ["'3'", "3.0", "true", "null", "[3]", "0x3z"])
def test_no_type_is_guessed(file: Path, value: str) -> None:
    (problem,) = refused(file, f"name: a\ninner: {{count: {value}}}\n")
    assert problem.startswith("2: inner.count: ")


def test_no_yaml(file: Path) -> None:
    (problem,) = refused(file, "name: a\ninner: {count: 1\nmany: ]\n")
    line, message = problem.split(": ", 1)
    assert line == "3"
    assert message.startswith("is not YAML: ")


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n"])
def test_an_empty_file(file: Path, text: str) -> None:
    assert refused(file, text) == ["is empty"]


@pytest.mark.parametrize("text", ["- a\n- b\n", "just text\n", "7\n"])
def test_a_file_that_is_no_mapping(file: Path, text: str) -> None:
    (problem,) = refused(file, text)
    assert "valid dictionary" in problem


def test_a_tag_is_refused_where_it_stands(file: Path) -> None:
    (problem,) = refused(file, "name: a\ninner:\n  count: !function module.name\n")
    assert problem.startswith("3: is not YAML: could not determine a constructor")


def test_bytes_that_are_no_text(file: Path) -> None:
    (problem,) = refused(file, b"name: caf\xe9\ninner: {count: 1}\n")
    assert problem.startswith("is not UTF-8 text")


def test_control_characters(file: Path) -> None:
    (problem,) = refused(file, "name: a\x07\ninner: {count: 1}\n")
    assert problem.startswith("is not YAML: ")
    assert "special characters are not allowed" in problem


def test_a_date_that_is_none(file: Path) -> None:
    assert refused(file, "name: 2026-13-01\n") == ["is not YAML: month must be in 1..12"]


def test_a_key_that_is_no_text(file: Path) -> None:
    (problem,) = refused(file, "name: a\n? [b, c]\n: 1\ninner: {count: 1}\n")
    assert problem.startswith("2: is not YAML: found unhashable key")


@pytest.mark.parametrize("missing", ["nowhere.yaml", "nowhere/some.yaml"])
def test_a_file_that_is_not_there(tmp_path: Path, missing: str) -> None:
    with pytest.raises(ConfigError) as caught:
        YamlFile(tmp_path / missing, Outer)
    assert str(caught.value) == f"{tmp_path / missing}: cannot be read: No such file or directory"


def test_later_findings_can_be_placed_too(file: Path) -> None:
    file.write_text("name: a\ninner:\n  count: 1\nmany:\n  - count: 1\n")
    read = YamlFile(file, Outer)
    assert str(read.problem(("inner", "count"), "is odd")) == f"{file}:3: inner.count: is odd"
    assert str(read.problem(("many", 0), "is odd")) == f"{file}:5: many.0: is odd"
    assert str(read.problem(("inner", "gone", "far"), "is odd")) == f"{file}:2: inner.gone.far: is odd"
    assert str(read.problem((), "is odd")) == f"{file}: is odd"


def test_a_bomb_of_aliases_is_refused_before_it_goes_off(file: Path) -> None:
    """Each line stands for ten of the line before it: a hundred million values in all."""
    lines = ["a: &a [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]"]
    lines += [f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]" for before, name in pairwise("abcdefgh")]
    (problem,) = refused(file, "\n".join(lines) + "\n")
    assert problem == "stands for more than 20000 values once its aliases (*name) are put in: write them out"


def test_a_bomb_of_merged_keys_is_refused_too(file: Path) -> None:
    lines = ["a: &a {k: 1}"]
    lines += [f"{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 10)}]}}" for before, name in pairwise("abcdefgh")]
    (problem,) = refused(file, "\n".join(lines) + "\n")
    assert "once its aliases" in problem


def test_a_list_that_holds_itself_is_refused(file: Path) -> None:
    (problem,) = refused(file, "name: &a [*a]\n")
    assert "once its aliases" in problem


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_what_is_nested_too_deep_is_refused(file: Path, opening: str) -> None:
    (problem,) = refused(file, opening * 20_000)
    assert "is nested more than 32 levels deep" in problem


def test_a_file_beyond_all_measure_is_refused(file: Path) -> None:
    (problem,) = refused(file, "name: " + "x" * 300_000)
    assert problem == "is larger than 262144 bytes: is it the right file?"


def test_aliases_that_stand_for_little_are_read(file: Path) -> None:
    file.write_text("name: a\ninner: &one {count: 1}\nmany: [*one, *one]\n")
    assert YamlFile(file, Outer).content.many == [Inner(count=1)] * 2
