"""One server arm: starts `sglang serve` under a guard, proves that it answers rightly, and ends it whole."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.config.suite import KnownAnswer
from harness.errors import HarnessError
from harness.plan.plan import Arm
from harness.serve.answers import RequestFailed
from harness.serve.client import Client
from harness.serve.guarded import END_TIMEOUT_S, Begun, begun
from harness.serve.log_excerpt import tail

POLL_S = 0.5
# What SGLang's web server says before it hangs.
PORT_TAKEN = "error while attempting to bind on address"


class ServerDiedError(HarnessError):
    """The server's process ended while it was needed."""


@dataclass(kw_only=True)
class Server:
    """A server that is up.

    Attributes:
        client: Its endpoints.
        log: The file of its output.
        seconds_to_ready: From the start to the known answer.
        known_answer: Whether it gave the known answer.
    """

    client: Client
    log: Path
    seconds_to_ready: float
    known_answer: bool
    _process: subprocess.Popen[bytes] = field(repr=False)

    def check_process(self) -> None:
        """Do nothing if the server's guard is there; it ends when the server does.

        Raises:
            ServerDiedError: It has ended; the message holds the end of the log.
        """
        if (code := self._process.poll()) is not None:
            raise _died(code, "during the run", self.log)

    def check_alive(self) -> None:
        """Do nothing if the server is there; a request that failed on its own account is no reason to stop.

        Raises:
            ServerDiedError: It has ended; the message holds the end of its log.
            HarnessError: Its process runs, but nothing answers.
        """
        _check_alive(self.client, self._process, "during the run", self.log)


@dataclass(frozen=True, kw_only=True)
class Start:
    """How a server is started, beside its command.

    Attributes:
        tp: The ranks it must have.
        known_answer: What it is asked before anything else.
        start_timeout_s: Seconds until it is given up if it is not ready.
        request_timeout_s: Seconds until a request counts as failed.
    """

    tp: int
    known_answer: KnownAnswer
    start_timeout_s: float
    request_timeout_s: float


@contextmanager
def running(arm: Arm, start: Start, log: Path, tell: Callable[[str], None]) -> Iterator[Server]:
    """Start one arm's server, wait until it answers rightly, and end it, whatever happens inside.

    Args, errors: those of `begun` and `served`.
    """
    with begun(arm, log) as command, served(command, arm, start, log, tell) as server:
        yield server


@contextmanager
def served(command: Begun, arm: Arm, start: Start, log: Path, tell: Callable[[str], None]) -> Iterator[Server]:
    """Let a begun server go on, and wait until it answers rightly.

    Args:
        command: Its command.
        arm: The arm.
        start: How it is started.
        log: The file of its output.
        tell: Called with a sentence whenever a stage begins.

    Raises:
        ServerDiedError: The server ended before it was ready, or before it gave the known answer.
        HarnessError: It was not ready in time, or it answers wrongly though it does not compress; the message holds
            the end of its log.
        OSError: Its folder cannot be written.
    """
    tell(f"starting the server (log: {log})")
    started, process = time.monotonic(), command.process
    command.go.touch()
    with Client(f"http://127.0.0.1:{command.port}", command.key, timeout_s=start.request_timeout_s) as client:
        _wait_until_healthy(client, process, log, start.start_timeout_s)
        command.key_file.unlink(missing_ok=True)
        try:
            check_arguments(client, arm, start.tp)
            known = answers_rightly(client, start.known_answer)
        except HarnessError as error:
            # One that is gone is told with its own last words.
            if isinstance(error.__cause__, RequestFailed):
                _check_alive(client, process, "before it gave the known answer", log)
            raise
        if not known and not arm.compressed:
            raise HarnessError(
                f"the server is up but does not continue {start.known_answer.prompt!r} with "
                f"{start.known_answer.right!r}: the model or its settings are broken, before any "
                f"compression\n{tail(log)}"
            )
        yield Server(
            client=client,
            log=log,
            seconds_to_ready=time.monotonic() - started,
            known_answer=known,
            _process=process,
        )


def check_arguments(client: Client, arm: Arm, tp: int) -> None:
    """Do nothing if the server itself says that it runs with this arm's flag and rank count.

    Raises:
        HarnessError: It says otherwise; the arm would be measured under a wrong name.
    """
    try:
        info = client.server_info()
    except RequestFailed as error:
        raise HarnessError(f"the server does not tell its arguments: {error}") from error
    for name, expected in (("enable_quant_communications", arm.compressed), ("tp_size", tp)):
        if info.get(name) != expected:
            raise HarnessError(f"the {arm.name} server runs with {name}={info.get(name)!r}, not {expected!r}")


def answers_rightly(client: Client, known: KnownAnswer) -> bool:
    """Return whether the server generates the known answer and scores it above the wrong one.

    Both ways of asking are tried: a server that generates well may still score by chance
    (llama.cpp issue 27174).

    Raises:
        HarnessError: It gave no answer at all.
    """
    try:
        prompt = client.tokenize(known.prompt)
        right, wrong = (client.tokenize(text, special=False) for text in (known.right, known.wrong))
        generated = client.generate(prompt, max_new_tokens=len(right), stop=())
        scores = client.score(prompt, [right, wrong])
    except RequestFailed as error:
        raise HarnessError(f"the server is up but does not answer: {error}") from error
    return generated.text == known.right and scores.logprobs[0] > scores.logprobs[1]


def server_settings(server_info: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    """Return what a server says of its settings, without its state and without its keys.

    Args:
        server_info: Its answer to /get_server_info, which also holds its launch command, key and all.
        names: The names of SGLang's server arguments.
    """
    return {
        name: "<redacted>" if name.endswith("api_key") and value else value
        for name, value in server_info.items()
        if name in names
    }


def _check_alive(client: Client, process: subprocess.Popen[bytes], when: str, log: Path) -> None:
    if client.reachable():
        return
    try:
        # The guard ends what the server leaves behind before it ends itself.
        code = process.wait(END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise HarnessError(f"the server's process runs, but nothing answers\n{tail(log)}") from None
    raise _died(code, when, log)


def _died(code: int, when: str, log: Path) -> ServerDiedError:
    """Say how a guard ended: with its server's exit code, or by a signal that was meant for itself."""
    how = f"server ended with exit code {code}" if code >= 0 else f"server's guard was killed by signal {-code}"
    return ServerDiedError(f"the {how} {when}\n{tail(log)}")


def _text(log: Path) -> str:
    try:
        return log.read_text(errors="replace")
    except OSError:
        return ""


def _wait_until_healthy(client: Client, process: subprocess.Popen[bytes], log: Path, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not client.healthy(max(POLL_S, deadline - time.monotonic())):
        if (code := process.poll()) is not None:
            raise _died(code, "before it was ready", log)
        if PORT_TAKEN in _text(log):
            # SGLang would go on without it, and never answer.
            raise HarnessError(
                f"another program took the server's port while it started: run again, or give a --port\n{tail(log)}"
            )
        if time.monotonic() > deadline:
            raise HarnessError(f"the server was not ready within {timeout_s:.0f} s\n{tail(log)}")
        time.sleep(POLL_S)
