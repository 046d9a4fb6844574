"""CPU time of the harness in one task, by what of it was at work: each part, less the parts within it."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pkgutil import resolve_name
from threading import Lock, local
from typing import Any, Self
from unittest import mock

AHEAD, HTTP, ANSWERS, RECORDS, LOGS, LM_EVAL, REST = PARTS = (
    "the next batch",
    "JSON and HTTP",
    "reading answers",
    "samples, checkpoints",
    "following ranks' logs",
    "prompts, filters, scores",
    "the rest",
)
# Where each part begins: a function as its callers find it.
WHERE = {
    "harness.ask.lm_eval_task.LmEvalTask._prepared": AHEAD,
    "harness.serve.client.Client.score_many": ANSWERS,
    "harness.serve.client.Client.generate_many": ANSWERS,
    "harness.serve.connection.Connection._read": HTTP,
    "harness.serve.connection.Connection.ask": HTTP,
    "harness.ask.lm_eval_task.write_samples": RECORDS,
    "harness.ask.lm_eval_task.LmEvalTask.ask": LM_EVAL,
    "harness.run.running_arm.write_record": RECORDS,
    "harness.run.asking.sizes_on_disk": RECORDS,
    "harness.run.rank_logs.RankLogs.wait_for": LOGS,
}


TOKENIZE = "/v1/tokenize"


class Meter:
    """Measures as long as it is entered.

    Attributes:
        cpu: Seconds of CPU time by part, since the task began.
        disk: Seconds in which the disk was waited for, by any thread.
    """

    def __init__(self) -> None:
        self.cpu = dict.fromkeys(PARTS, 0.0)
        self.disk = 0.0
        self._lock = Lock()
        self._mine = local()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Start."""
        for name, part in WHERE.items():
            self._stack.enter_context(_replaced(name, partial(self._timed, part=part)))
        self._stack.enter_context(_replaced("os.fsync", self._on_disk))
        self._stack.enter_context(_replaced("harness.run.arms.ask", self._whole))
        return self

    def __exit__(self, *_: object) -> None:
        """Let everything be as it was."""
        self._stack.close()

    def _timed(self, call: Callable[..., Any], part: str) -> Callable[..., Any]:
        def timed(*args: Any, **how: Any) -> Any:
            # Made as the server is at work on the batch before, by a request of its own.
            with self._within(AHEAD if TOKENIZE in args else part):
                return call(*args, **how)

        return timed

    def _whole(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Measure a task from its beginning; what is in no part, new threads for instance, is the rest."""

        def timed(*args: Any, **how: Any) -> Any:
            self.cpu, self.disk = dict.fromkeys(PARTS, 0.0), 0.0
            began = time.process_time()
            try:
                return call(*args, **how)
            finally:
                self.cpu[REST] += time.process_time() - began - sum(self.cpu.values())

        return timed

    def _on_disk(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any) -> None:
            began, busy = time.monotonic(), time.thread_time()
            call(*args)
            with self._lock:
                self.disk += max(0.0, time.monotonic() - began - (time.thread_time() - busy))

        return timed

    @contextmanager
    def _within(self, part: str) -> Iterator[None]:
        parts = self._mine.__dict__.setdefault("parts", [])
        if parts:
            self._charge(parts[-1])
        self._mine.since = time.thread_time()
        parts.append(AHEAD if AHEAD in parts else part)
        try:
            yield
        finally:
            self._charge(parts.pop())

    def _charge(self, part: str) -> None:
        now = time.thread_time()
        with self._lock:
            self.cpu[part] += now - self._mine.since
        self._mine.since = now


def _replaced(name: str, by: Callable[[Callable[..., Any]], Callable[..., Any]]) -> AbstractContextManager[object]:
    return mock.patch(name, by(resolve_name(name)))
