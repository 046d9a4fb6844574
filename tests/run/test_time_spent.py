"""How a leg's time is taken: from the ranks' logs, the client's requests and the run's clock, after a break too."""

import os
import threading
from collections.abc import Callable
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

import pytest

from harness.ask.questionnaire import Questionnaire
from harness.config.suite import Deadlines
from harness.plan.plan import Plan
from harness.records.run import RUNNING, ArmRecord, Checkpoint, RunRecord, Traffic, read_record, write_record
from harness.records.run_folder import ArmFolder
from harness.records.time_spent import Passes, Span, Spent
from harness.run.asking import ask_leg
from harness.run.deadlines import Watch
from harness.run.journal import opened
from harness.run.rank_logs import RankLogs
from harness.run.running_arm import RunningArm
from harness.serve.client import Client
from harness.serve.server import Server
from harness.serve.waiting import Waiting
from harness.sglang_plugin.recorder import Log
from tests.support import make, run_folder

BEFORE = 100.0


@pytest.fixture
def folder(tmp_path: Path) -> ArmFolder:
    return ArmFolder(tmp_path)


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    plan = make(tmp_path)
    return plan.model_copy(update={"folder": os.path.realpath(plan.folder)})


def log(folder: ArmFolder, *passes: tuple[str, int, float], ranks: int = 2) -> None:
    """Add forward passes to each rank's log: mode, tokens, seconds; a rank's are longer by its number."""
    for rank in range(ranks):
        file = Log(folder.engagement / f"rank-{rank}.jsonl")
        for mode, tokens, seconds in passes:
            file.write({"policy": 0, "mode": mode, "tokens": tokens, "seconds": seconds + rank})


def test_rank_0s_passes_are_told_apart(folder: ArmFolder) -> None:
    Log(folder.engagement / "rank-0.jsonl").write({"rank": 0, "layers": 3})
    Log(folder.engagement / "rank-1.jsonl").write({"rank": 1, "layers": 3})
    log(folder, ("EXTEND", 100, 2.0), ("DECODE", 4, 0.5), ("IDLE", 0, 9.0), ("TARGET_VERIFY", 8, 0.25))
    logs = RankLogs(folder, 2)
    assert logs.passes == Passes()
    logs.wait_for(100)
    first = Passes(
        prefills=1, prefill_tokens=100, prefill_seconds=2.0, decodes=2, decode_tokens=12, decode_seconds=0.75
    )
    assert logs.passes == first
    log(folder, ("EXTEND", 50, 1.0))
    logs.wait_for(150)
    assert logs.passes is not None
    assert logs.passes - first == Passes(prefills=1, prefill_tokens=50, prefill_seconds=1.0)


def test_logs_that_have_no_times_are_still_waited_for(folder: ArmFolder) -> None:
    for rank in range(2):
        Log(folder.engagement / f"rank-{rank}.jsonl").write({"policy": 0, "mode": "EXTEND", "tokens": 7})
    logs = RankLogs(folder, 2)
    logs.wait_for(7)
    assert logs.passes is None


def test_logs_that_cannot_be_followed_tell_nothing(folder: ArmFolder) -> None:
    log(folder, ("EXTEND", 7, 1.0))
    with (folder.engagement / "rank-1.jsonl").open("a") as out:
        out.write("no JSON\n")
    logs = RankLogs(folder, 2)
    logs.wait_for(7)
    assert logs.passes is None


def test_requests_that_are_under_way_at_once_are_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [10.0]
    monkeypatch.setattr("harness.serve.waiting.time.monotonic", lambda: now[0])
    waiting = Waiting()

    def other_request() -> None:
        with waiting.request():
            now[0] += 4.0

    with waiting.request():
        now[0] += 1.0
        other = threading.Thread(target=other_request)
        other.start()
        other.join()
        assert waiting.seconds == 5.0
        now[0] += 2.0
    now[0] += 100.0
    assert waiting.seconds == 7.0
    with pytest.raises(ZeroDivisionError), waiting.request():
        now[0] += 1 / 0
    now[0] += 100.0
    assert waiting.seconds == 7.0


class Answering(BaseHTTPRequestHandler):
    """Answers everything with nothing."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class AliveServer:
    """A server that is there."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def check_process(self) -> None:
        """It is."""


class Asking:
    """A questionnaire whose every batch has the ranks log a prefill and two decodes, and the server a request."""

    name, concurrency = "boolq", 4

    def ask(
        self,
        client: Client,
        part: range,
        *,
        folder: ArmFolder,
        after_failure: Callable[[], None],
        advance: Callable[[], None],
    ) -> None:
        del after_failure
        log(folder, ("EXTEND", 10 * len(part), 0.25), ("DECODE", len(part), 0.125), ("DECODE", len(part), 0.125))
        client.flush_cache()
        client.traffic += Traffic(answers=len(part), prompt=10 * len(part))
        for _question in part:
            advance()


def test_a_leg_is_kept_with_what_its_time_went_into(plan: Plan, folder: ArmFolder) -> None:
    # Of the server's own start.
    log(folder, ("EXTEND", 5, 50.0))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    watch = Watch(Deadlines(), before=BEFORE)
    with closing(server.socket), Client(f"http://127.0.0.1:{server.server_port}", "key", timeout_s=30) as client:
        record = ArmRecord(
            server_args={},
            known_answer=True,
            seconds_to_ready=2.0,
            own_prefill=5,
            starts=[Span(began=BEFORE - 4, ended=BEFORE - 2)],
        )
        logs = RankLogs(folder, 2)
        logs.wait_for(5)
        arm = RunningArm(
            arm=plan.arms[0],
            server=cast("Server", AliveServer(client)),
            folder=folder,
            record=record,
            before=Traffic(),
            logs=logs,
        )
        for leg in (range(8), range(8, 12)):
            ask_leg(cast("Questionnaire", Asking()), arm, leg, advance=lambda: None, watch=watch)
        server.shutdown()
    kept = read_record(folder.record, ArmRecord)
    assert kept.asked("boolq") == 12
    spent = kept.spent("boolq")
    assert spent is not None
    assert spent.passes == Passes(
        prefills=3, prefill_tokens=120, prefill_seconds=0.75, decodes=6, decode_tokens=24, decode_seconds=0.75
    )
    (span,) = spent.spans
    assert BEFORE <= span.began < span.ended <= watch.elapsed
    assert 0.0 < spent.waited < kept.seconds("boolq") <= span.seconds
    assert kept.until == span.ended


def test_a_run_that_was_killed_goes_on_at_the_time_that_its_arms_tell(plan: Plan) -> None:
    folder = run_folder(plan)
    folder.path.mkdir(parents=True)
    write_record(folder.run, RunRecord(started="then", seconds=0.0, errors=[], versions={}, state=RUNNING))
    spent = Spent(spans=[Span(began=40.0, ended=75.5)])
    record = ArmRecord(
        server_args={},
        known_answer=True,
        seconds_to_ready=30.0,
        starts=[Span(began=5.0, ended=35.0)],
        checkpoint=Checkpoint(task="boolq", questions=8, seconds=30.0, sizes={}, spent=spent),
    )
    folder.arm("baseline").path.mkdir()
    write_record(folder.arm("baseline").record, record)
    with opened(plan, {}, resume=True) as journal:
        assert journal.record.seconds >= 75.5
        watch = Watch(plan.deadlines, before=journal.record.seconds)
        assert watch.elapsed >= 75.5
        journal.finished()
    assert read_record(folder.run, RunRecord).seconds >= 75.5


def test_an_arm_of_before_tells_of_no_time() -> None:
    before = ArmRecord(server_args={}, known_answer=True, seconds_to_ready=30.0)
    assert before.until == 0.0
    assert before.spent("boolq") == Spent()
    broken = Checkpoint(task="boolq", questions=8, seconds=30.0, sizes={})
    assert before.model_copy(update={"checkpoint": broken}).spent("boolq") is None
