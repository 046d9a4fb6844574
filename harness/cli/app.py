"""The application that every command joins, and what all commands share of the terminal."""

import typer
from rich.console import Console

from harness.judge.verdict import EXIT_CODES, Verdict

DEFAULT_SUITE = "smollm2-cpu"
ERROR = EXIT_CODES[Verdict.ERROR]
# A CI log has no width; tables cut at 80 columns there would lose their numbers.
PLAIN_WIDTH = 160
# What comes after everything else on the terminal.
LAST_WORDS: list[str] = []

app = typer.Typer(
    help="Proves whether compressed tensor-parallel communication keeps a model's accuracy.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def console() -> Console:
    """Return the terminal, or a wide page where there is none."""
    terminal = Console()
    return terminal if terminal.is_terminal else Console(width=PLAIN_WIDTH)
