"""What a session is given and what it ends with: options and exit codes."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import nox

from environments import ERROR, PASS, end_with

FAIL, INCONCLUSIVE = 1, 2
INTERRUPTED = 130
WORST_FIRST = (ERROR, FAIL, INCONCLUSIVE, PASS)


class _Options(argparse.ArgumentParser):
    """A parser whose complaint ends in ERROR: argparse's own exit code is INCONCLUSIVE here."""

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"ERROR\n{message}\n")
        raise SystemExit(ERROR)


def pop_option(arguments: Sequence[str], option: str, default: str) -> tuple[str, list[str]]:
    """Return an option's value and the arguments without it; of several the last, as the harness itself does."""
    parser = _Options(add_help=False, allow_abbrev=False)
    parser.add_argument(option, dest="value", default=default)
    known, rest = parser.parse_known_args(list(arguments))
    return str(known.value), rest


def named_interpreter() -> str:
    """Return SGLang's interpreter as the environment names it; empty for none."""
    return os.environ.get("HARNESS_SERVER_PYTHON", "")


def end_with_worst(session: nox.Session, codes: dict[str, int]) -> None:
    """Print each part's exit code and end nox with the worst of them."""
    for name, code in codes.items():
        session.log(f"{name}: exit code {code}")
    end_with(min((code if code in WORST_FIRST else ERROR for code in codes.values()), key=WORST_FIRST.index))
