"""The harness's command line, with tiny data and stand-ins for what a run needs."""

from pathlib import Path

import pytest

from tests.commands import Ran, run_command
from tests.support import GSM8K_ROWS, PASSAGES, make_options, write_rows

# Stands for an interpreter whose SGLang takes everything.
WILLING = """echo '{"sglang": "0.5.23", "problems": [], "settings": [], "spelled": {}, "packages": "", \
"every_package": {}, "plugin": ""}'"""


class Harness:
    """Runs the command line in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
        self.monkeypatch, self._capsys, self.folder = monkeypatch, capsys, folder

    def __call__(self, *arguments: str) -> Ran:
        return run_command(self.monkeypatch, self._capsys, *arguments)

    def accuracy(self, *arguments: str) -> Ran:
        """Run `accuracy` as `on_tiny_data` does."""
        return self.on_tiny_data("accuracy", *arguments)

    def on_tiny_data(self, command: str, *arguments: str) -> Ran:
        """Run a command with a stand-in interpreter, plugin and model, and tiny data."""
        options = make_options(self.folder)
        data = self.folder / "own"
        write_rows(data / "gsm8k" / "test.jsonl", GSM8K_ROWS)
        write_rows(data / "boolq" / "validation.jsonl", PASSAGES)
        usual = [
            *("--server-python", str(options.server_python), "--plugin-path", str(options.plugin_path)),
            *("--model-path", str(options.model_path), "--data", "folder", "--data-folder", str(data)),
            *("--reports", str(options.reports), "--limit", "3"),
        ]
        return self(command, *usual, *arguments)
