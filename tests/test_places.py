import os
from pathlib import Path

import pytest

from harness.places import ROOT, cache, model_place, point_latest
from tests.support import make, write_model


def test_without_the_variable_it_is_in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_CACHE", raising=False)
    assert cache() == ROOT / ".cache"
    # As a shell leaves it that was told to export nothing.
    monkeypatch.setenv("HARNESS_CACHE", "")
    assert cache() == ROOT / ".cache"


def test_a_relative_one_is_where_the_user_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_CACHE", "kept")
    assert cache() == tmp_path / "kept"


@pytest.mark.parametrize("path", ["Qwen/Qwen3-8B", "/models/.cache/one", "models/one", ".cached/one", ""])
def test_only_the_caches_own_name_is_led_there(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", "/kept")
    assert model_place(".cache/models/one") == "/kept/models/one"
    assert model_place("./.cache/models/one") == "/kept/models/one"
    assert model_place(path) == path


def test_a_plans_model_comes_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "kept"))
    kept = tmp_path / "kept" / "models" / "SmolLM2-135M-Instruct"
    write_model(kept)
    plan = make(tmp_path, model_path=None)
    assert plan.model_path == str(kept)
    assert all(arm.argv[arm.argv.index("--model-path") + 1] == str(kept) for arm in plan.arms)
    own = tmp_path / "own"
    write_model(own)
    assert make(tmp_path, model_path=str(own)).model_path == str(own)


def test_latest_leads_to_the_newest_and_the_folder_of_reports_may_be_moved(tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    for name in ("older", "newer"):
        (reports / name).mkdir(parents=True)
        point_latest(reports / name)
        assert (reports / "latest").readlink() == Path(name)
    assert sorted(file.name for file in reports.iterdir()) == ["latest", "newer", "older"]
    reports.rename(tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere" / "latest").is_dir()


def test_what_a_killed_process_left_of_the_link_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / f".latest-{os.getpid()}").symlink_to("gone")
    point_latest(tmp_path / "run")
    assert (tmp_path / "latest").readlink() == Path("run")


def test_a_folder_where_the_link_should_be_is_left_alone_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("run", "latest"):
        (tmp_path / name).mkdir()
    (tmp_path / "latest" / "own").touch()
    point_latest(tmp_path / "run")
    assert (tmp_path / "latest" / "own").exists()
    assert "latest is a folder, so it cannot lead to run" in capsys.readouterr().err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["latest", "run"]
