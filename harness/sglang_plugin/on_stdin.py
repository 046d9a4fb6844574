"""Answers one request of the harness: JSON on standard input, JSON on standard output. Standard library only."""

import json
import sys
from collections.abc import Callable
from typing import Any


def reply(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Write the answer to the request that is on standard input."""
    request = json.load(sys.stdin)
    out = sys.stdout
    # SGLang's imports print; the answer must be alone on standard output.
    sys.stdout = sys.stderr
    json.dump(answer(request), out)
