"""What every server of a run is asked, tasks and fixed texts alike: one interface for both."""

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from harness.records.run_folder import ArmFolder
from harness.serve.client import Client


class Questionnaire(Protocol):
    """Questions whose prompts are known, and none of them asked yet."""

    @property
    def name(self) -> str:
        """The name of its records."""

    @property
    def unit(self) -> str:
        """What its questions are called, in the plural."""

    @property
    def questions(self) -> int:
        """How many there are."""

    def protocol(self) -> dict[str, Any]:
        """Return everything that decides what is asked and how it is read, for the report."""

    def protocol_text(self) -> str:
        """Return the same in one line: what a threshold records and a run is compared by."""

    @property
    def concurrency(self) -> int:
        """How many go out at once, as one request."""

    @property
    def accepted(self) -> str:
        """What its threshold accepts, in words."""

    def contents(self) -> list[str]:
        """Return the text of every prompt, in the order they are asked."""

    def ask(
        self,
        client: Client,
        part: range,
        *,
        folder: ArmFolder,
        after_failure: Callable[[], None],
        advance: Callable[[], None],
    ) -> None:
        """Ask some of the questions of one server and add what it answers to the arm's folder.

        Args:
            client: The server.
            part: Which questions.
            folder: The arm's folder.
            after_failure: Called after each failed request; it raises if the server is gone.
            advance: Called after each question.

        Raises:
            HarnessError: The server is gone.
            OSError: The answers cannot be written.
        """


def hash_contents(contents: Sequence[str]) -> str:
    """Return the SHA-256 of a questionnaire's prompts."""
    return hashlib.sha256(json.dumps(list(contents)).encode()).hexdigest()
