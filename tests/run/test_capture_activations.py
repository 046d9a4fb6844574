"""The capture of real activations: what it asks of the server, and what it says where nothing came of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.errors import HarnessError
from harness.plan.plan import Arm
from harness.run import capture_activations
from harness.serve.answers import RequestFailed
from harness.serve.server import Start
from tests.support import make_options


def captured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Callable[[Arm], None]
) -> tuple[Path, list[Arm], list[Start]]:
    """Capture with a server that does `answer` when it is asked to generate."""
    arms, starts = list[Arm](), list[Start]()

    @contextmanager
    def running(arm: Arm, start: Start, _log: Path, _say: object) -> Iterator[SimpleNamespace]:
        starts.append(start)
        arms.append(arm)

        def generate(prompt: list[int], *, max_new_tokens: int, stop: tuple[str, ...]) -> None:
            assert (prompt, max_new_tokens, stop) == ([1, 2], 1, ())
            answer(arm)

        yield SimpleNamespace(client=SimpleNamespace(tokenize=lambda _text: [1, 2], generate=generate))

    options = make_options(tmp_path)
    monkeypatch.setattr(capture_activations, "running", running)
    monkeypatch.setattr("harness.run.capture_activations.model_place", lambda _path: str(options.model_path))
    out = tmp_path / "cache" / "activations.pt"
    capture_activations.capture(out, server_python=options.server_python, plugin_path=options.plugin_path)
    return out, arms, starts


def write(arm: Arm) -> None:
    Path(arm.env["HARNESS_PLUGIN_CAPTURE"]).write_text("captured")


def test_the_messages_are_an_uncompressed_models_behind_the_flag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, [arm], [start] = captured(tmp_path, monkeypatch, write)
    assert out.read_text() == "captured"
    assert arm.env["HARNESS_PLUGIN_CODEC"] == "none"
    assert arm.check_every == 0
    assert "--enable-quant-communications" in arm.argv
    assert start.start_timeout_s == capture_activations.START_TIMEOUT_S


def test_a_plugin_that_writes_nothing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HarnessError, match=r"did not write .*activations\.pt: is it loaded\?"):
        captured(tmp_path, monkeypatch, lambda _arm: None)


def test_a_server_that_does_not_answer_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_arm: Arm) -> None:
        raise RequestFailed("connection refused")

    with pytest.raises(HarnessError, match="the server did not answer: connection refused"):
        captured(tmp_path, monkeypatch, fail)


def test_what_is_there_is_not_captured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "activations.pt"
    out.write_text("kept")
    monkeypatch.setattr("sys.argv", ["activations", f"--out={out}"])
    assert capture_activations.main() == 0
    assert out.read_text() == "kept"


def test_a_failure_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HARNESS_SERVER_PYTHON", str(tmp_path / "python"))
    monkeypatch.setenv("HARNESS_PLUGIN_PATH", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["activations", f"--out={tmp_path / 'activations.pt'}"])
    assert capture_activations.main() == 1
    assert capsys.readouterr().err.startswith("activations: ")
