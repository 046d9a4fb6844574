"""The command line as a process: signals, what is said last, exit codes."""

import signal
import sys
import traceback
from typing import NoReturn

import typer
from typer.exceptions import TyperException

# Importing a module is what joins its commands to the application.
from harness.cli import accuracy, arm, fleet, history, report, study, suites  # noqa: F401
from harness.cli.app import ERROR, LAST_WORDS, app
from harness.errors import HarnessError
from harness.safety import harmless

INTERRUPTED = 130


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def main() -> int:
    """Run the command line; return 0 PASS, 1 FAIL, 2 INCONCLUSIVE, 3 ERROR, 130 after Ctrl-C."""
    # A CI job that is cancelled gets SIGTERM: it must end the servers just as Ctrl-C does.
    signal.signal(signal.SIGTERM, _interrupt)
    # A terminal that is closed means the same, but not to what was started to outlive it (nohup).
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _interrupt)
    LAST_WORDS.clear()
    code = _command_line()
    sys.stdout.flush()
    for words in LAST_WORDS:
        sys.stderr.write(f"{words}\n")
    return code


def _command_line() -> int:
    # Where a shell started it in the background, Ctrl-C is ignored unless this says otherwise.
    signal.signal(signal.SIGINT, _interrupt)
    try:
        result = app(standalone_mode=False)
    except (HarnessError, OSError) as error:
        # The latter of this machine's disk, and nobody's mistake here: the words say which file and why.
        sys.stderr.write(f"ERROR\n{harmless(str(error))}\n")
        return ERROR
    except TyperException as error:
        # Not typer's own exit code 2, which is INCONCLUSIVE here.
        sys.stderr.write(f"ERROR\n{error.format_message()}\n")
        return ERROR
    except (KeyboardInterrupt, typer.Abort):
        result = INTERRUPTED
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else ERROR
    except Exception:  # noqa: BLE001 - Python's own exit code for these is 1, which is FAIL here
        sys.stderr.write(f"ERROR\n{traceback.format_exc()}")
        return ERROR
    if result == INTERRUPTED:
        # Typer itself makes this number of a KeyboardInterrupt.
        sys.stderr.write("interrupted: the servers are ended, what was measured is kept\n")
    return result if isinstance(result, int) else 0
