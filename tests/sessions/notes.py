"""A session that starts nothing: it notes what a session would run, and answers in its place."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from nox.command import CommandFailed

Answer = int | str
HARNESS = ("-m", "harness")


class Notes:
    """Stands for nox's session, with environments that are not made.

    Attributes:
        posargs: What the user gave.
        ran: Interpreter and arguments of each command, but of those whose output is read; an environment's
            interpreter by the environment's name.
        asked: The arguments of the commands whose output is read.
        environments: The variables of each command of `ran`.
        logged: What it said.
    """

    def __init__(self, made: Path, posargs: tuple[str, ...], answers: dict[tuple[str, ...], Answer]) -> None:
        self.posargs = list(posargs)
        self.ran: list[tuple[str, list[str]]] = []
        self.asked: list[list[str]] = []
        self.environments: list[dict[str, str]] = []
        self.logged: list[str] = []
        self.log = self.logged.append
        self._made = made
        self._answers = answers

    def run(
        self, python: str, *arguments: str, env: dict[str, str] | None = None, silent: bool = False, **_: object
    ) -> str:
        """Answer with the exit code or the output that was given for the longest beginning of the arguments."""
        if silent:
            self.asked.append(list(arguments))
        else:
            self.ran.append((self.name_of(python), list(arguments)))
            self.environments.append(env or {})
        known = [begins for begins in self._answers if arguments[: len(begins)] == begins]
        answer = self._answers[max(known, key=len)] if known else 0
        if isinstance(answer, int) and answer:
            raise CommandFailed(return_code=answer)
        return str(answer or "")

    def name_of(self, python: str) -> str:
        """Return the environment that an interpreter is of, or the interpreter where it is of none."""
        path = Path(python)
        return path.relative_to(self._made).parts[0] if path.is_relative_to(self._made) else python

    def code_of(self, session: Callable[..., object], *arguments: Any, **options: Any) -> int:
        """Return the exit code that a session ends nox with, or that one of its parts returns."""
        try:
            code = session(self, *arguments, **options)
        except SystemExit as end:
            code = end.code
        assert code is None or isinstance(code, int)
        return code or 0
