"""Somebody else's all-reduce, named by module or by file."""

import sys
from pathlib import Path
from typing import Any

import pytest

from harness.collective.implementation import load_implementation


def test_a_files_function_without_its_neighbours(tmp_path: Path) -> None:
    # A neighbour that would hide a module of the standard library if its folder were on the path.
    (tmp_path / "statistics.py").write_text("raise RuntimeError\n")
    (tmp_path / "my_reduce.py").write_text("import statistics\n\n\ndef f(x, group):\n    return 'reduced'\n")
    found = load_implementation(f"{tmp_path}/my_reduce.py:f")
    probe: Any = found
    assert probe(1, None) == "reduced"
    assert str(tmp_path) not in sys.path


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("{folder}/none.py:f", ImportError, "there is no file"),
        ("{folder}/my.py:g", TypeError, "has no function 'g'"),
        ("no_colon", ValueError, "'file.py:function'"),
    ],
)
def test_a_file_or_function_that_is_not_there(tmp_path: Path, name: str, error: type[Exception], says: str) -> None:
    (tmp_path / "my.py").write_text("")
    with pytest.raises(error, match=says):
        load_implementation(name.format(folder=tmp_path))
