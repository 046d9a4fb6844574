import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.places import ROOT
from harness.prepare.whole_folder import ABANDONED_S, DONE, is_prepared, partial_folder, whole_folder

# Makes the same folder as others do at the same time, and looks at it.
MAKER = """
import sys
from pathlib import Path
from harness.prepare.whole_folder import partial_folder
out = Path(sys.argv[1])
for turn in range(40):
    with partial_folder(out) as partial:
        for name in ("one", "two"):
            (partial / name).write_text(f"{sys.argv[2]} {turn}")
"""


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_a_folder_appears_when_it_is_complete(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "deep" / "out", {"source": "x"}) as partial:
        (partial / "weights").write_text("1")
        assert not (tmp_path / "deep" / "out").exists()
    assert is_prepared(tmp_path / "deep" / "out")
    assert names(tmp_path / "deep") == ["out"]


@pytest.mark.parametrize("kept", ['{"source": "x"}', '{"source": "x", "form": 1}', "[]", "{"])
def test_one_of_an_older_form_is_not_prepared(tmp_path: Path, kept: str) -> None:
    (tmp_path / DONE).write_text(kept)
    assert not is_prepared(tmp_path)


def test_an_older_one_is_replaced_as_a_whole(tmp_path: Path) -> None:
    for name in ("old", "new"):
        with partial_folder(tmp_path / "out") as partial:
            (partial / name).touch()
    assert names(tmp_path / "out") == ["new"]
    assert names(tmp_path) == ["out"]


def test_one_that_is_broken_off_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), partial_folder(tmp_path / "out"):
        raise KeyboardInterrupt
    assert not names(tmp_path)


def test_two_at_once_have_a_folder_each_and_leave_one_whole(tmp_path: Path) -> None:
    out = tmp_path / "out"
    makers = [subprocess.Popen([sys.executable, "-c", MAKER, str(out), str(maker)], cwd=ROOT) for maker in range(3)]
    assert [maker.wait(120) for maker in makers] == [0, 0, 0]
    assert names(tmp_path) == ["out"]
    assert (out / "one").read_text() == (out / "two").read_text()


def test_what_a_killed_one_left_goes_after_a_day(tmp_path: Path) -> None:
    (tmp_path / "out.dead.partial").mkdir()
    (tmp_path / "out.busy.partial").mkdir()
    long_ago = (tmp_path / "out.busy.partial").stat().st_mtime - ABANDONED_S - 1
    os.utime(tmp_path / "out.dead.partial", (long_ago, long_ago))
    with partial_folder(tmp_path / "out"):
        pass
    assert names(tmp_path) == ["out", "out.busy.partial"]
