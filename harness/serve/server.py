"""One server arm: starts `sglang serve` under a guard, proves that it answers rightly, and ends it whole."""

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from harness.config.suite import KnownAnswer
from harness.errors import HarnessError
from harness.plan.plan import Arm
from harness.serve.answers import RequestFailed
from harness.serve.client import Client
from harness.serve.log_excerpt import KEY_BYTES, tail
from harness.serve.ports import check_port_free, free_port
from harness.sglang_plugin.settings import PREFIX

POLL_S = 0.5
# The guard asks the tree to end, waits, and kills; this is longer than all of that.
END_TIMEOUT_S = 45.0
# What a server's processes have in their environment, and no others.
MARK = f"{PREFIX}DIR"
# SGLang's processes rename themselves, which without this overwrites what the kernel shows of their environment.
KEEPS_ENVIRONMENT = {"SPT_NOENV": "1"}
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
        port: A fixed port, or None for a free one.
    """

    tp: int
    known_answer: KnownAnswer
    start_timeout_s: float
    request_timeout_s: float
    port: int | None = None


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A server whose command runs.

    Attributes:
        port: Where it will answer.
        key: Its key.
        key_file: What tells it the key.
        go: What holds it back as long as it is not there, if its device lets it be held back. See
            harness.sglang_plugin.forked_ranks.
        process: Its guard.
    """

    port: int
    key: str
    key_file: Path
    go: Path
    process: subprocess.Popen[bytes] = field(repr=False)


@contextmanager
def begun(arm: Arm, log: Path, *, port: int | None = None, held: bool = False) -> Iterator[Begun]:
    """Run one arm's command, and end it with all it started, whatever happens inside.

    Args:
        arm: The arm.
        log: The file of its output.
        port: A fixed port, or None for a free one.
        held: Whether it waits before it starts its ranks until `served` lets it go.

    Raises:
        HarnessError: Its port is taken.
        OSError: Its folder cannot be written.
    """
    port = port or free_port()
    check_port_free(port)
    key, key_file, go = secrets.token_hex(KEY_BYTES), log.with_name("server-key.yaml"), log.with_name("go")
    write_key(key_file, key)
    go.unlink(missing_ok=True)
    # The guard's own words belong with the server's.
    with log.open("ab") as words:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "harness.serve.guard",
                f"--log={log}",
                "--",
                *arm.command(port=port, key_file=key_file),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=words,
            env=arm.environment() | KEEPS_ENVIRONMENT | ({f"{PREFIX}GO": str(go)} if held else {}),
            # Ctrl-C in the terminal must reach the harness alone, which then ends the server in order.
            start_new_session=True,
        )
    try:
        yield Begun(port=port, key=key, key_file=key_file, go=go, process=process)
    finally:
        end(process)
        key_file.unlink(missing_ok=True)
        go.unlink(missing_ok=True)
        if process.returncode < 0:
            end_left_behind(arm)


@contextmanager
def running(arm: Arm, start: Start, log: Path, tell: Callable[[str], None]) -> Iterator[Server]:
    """Start one arm's server, wait until it answers rightly, and end it, whatever happens inside.

    Args, errors: those of `begun` and `served`.
    """
    with begun(arm, log, port=start.port) as command, served(command, arm, start, log, tell) as server:
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


def end_left_behind(arm: Arm) -> None:
    """End what there still is of an arm's server, told by where its plugin writes, and wait until it is gone.

    Of a killed guard's tree the kernel ends the command alone. And a killed harness's guard takes a moment to end
    the server, which must not add to its logs when the run goes on.
    """
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(MARK) == arm.engagement:
                process.kill()
                found.append(process)
    psutil.wait_procs(found, timeout=END_TIMEOUT_S)


def write_key(file: Path, key: str) -> None:
    """Write the file of SGLang's arguments that holds the key, for this user's eyes alone.

    Raises:
        OSError: It cannot be written.
    """
    # One that an interrupted start left may be a link by now.
    file.unlink(missing_ok=True)
    opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(opened, "w") as out:
        out.write(f'api-key: "{key}"\n')


def end(process: subprocess.Popen[bytes]) -> None:
    """End a guarded server: closing the guard's pipe says so; it ends the tree and then itself."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


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
