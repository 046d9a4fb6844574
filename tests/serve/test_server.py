"""A server arm's faults, each with its message. The real server's start is in test_end_to_end.py."""

import secrets
import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import gettempdir

import psutil
import pytest

from harness.errors import HarnessError
from harness.plan.plan import Plan
from harness.serve.guarded import begun, end_left_behind
from harness.serve.log_excerpt import KEY_BYTES, tail
from harness.serve.server import ServerDiedError, running, served, server_settings
from tests.support import start_of

pytestmark = pytest.mark.usefixtures("no_strays")
MakePlan = Callable[..., Plan]


def start(plan: Plan, tmp_path: Path, arm: str = "baseline") -> None:
    with running(plan.arm(arm), start_of(plan), tmp_path / "server.log", lambda _text: None):
        pass


@pytest.mark.parametrize("mode", ["good", "leaves-orphans", "ignores-signals"])
def test_a_good_server_answers_and_is_gone_afterwards(fake_plan: MakePlan, tmp_path: Path, mode: str) -> None:
    plan = fake_plan(mode)
    with running(plan.arm("baseline"), start_of(plan), tmp_path / "server.log", lambda _text: None) as server:
        assert server.known_answer
        assert server.client.healthy()
        server.check_alive()


def test_a_server_that_is_held_back_starts_when_it_may(fake_plan: MakePlan, tmp_path: Path) -> None:
    plan, log = fake_plan(), tmp_path / "server.log"
    arm = plan.arm("baseline")
    with begun(arm, log, held=True) as command:
        guard = psutil.Process(command.process.pid)
        deadline = time.monotonic() + 20
        while not any("suites.faults.server" in child.cmdline() for child in guard.children()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        # By itself it listens within this time.
        time.sleep(3)
        assert "listening" not in log.read_text()
        let_go = time.monotonic()
        with served(command, arm, start_of(plan), log, lambda _text: None) as server:
            assert server.known_answer
            # What it waited before does not count.
            assert server.seconds_to_ready <= time.monotonic() - let_go
        assert not command.key_file.exists()
    assert not command.go.exists()


def test_a_server_that_dies_shows_the_end_of_its_log(fake_plan: MakePlan, tmp_path: Path) -> None:
    with pytest.raises(ServerDiedError, match=r"(?s)exit code 3 before it was ready.*RuntimeError: no such weights"):
        start(fake_plan("dies-at-once"), tmp_path)


def test_a_server_that_is_never_ready_is_given_up(fake_plan: MakePlan, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"(?s)not ready within 2 s.*server\.log from line 1"):
        start(fake_plan("never-ready", start_s=2), tmp_path)


def test_a_baseline_that_answers_wrongly_is_not_ready(fake_plan: MakePlan, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="does not continue 'The capital of France is' with ' Paris'"):
        start(fake_plan("wrong-answer"), tmp_path)


def test_a_compressed_arm_that_answers_wrongly_is_evidence_and_not_an_error(
    fake_plan: MakePlan, tmp_path: Path
) -> None:
    plan = fake_plan(compressed="wrong-answer")
    with running(plan.arm("compressed"), start_of(plan), tmp_path / "server.log", lambda _text: None) as server:
        assert not server.known_answer


def test_a_server_that_runs_without_the_arms_flag_is_refused(fake_plan: MakePlan, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="the compressed server runs with enable_quant_communications=False"):
        start(fake_plan(compressed="wrong-flag"), tmp_path, "compressed")


def test_a_taken_port_is_named(fake_plan: MakePlan, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with (
            pytest.raises(HarnessError, match=f"port {port} of 127.0.0.1 is taken"),
            begun(fake_plan().arm("baseline"), tmp_path / "server.log", port=port),
        ):
            pytest.fail("a taken port was taken")


def test_a_port_that_is_taken_while_the_server_starts_is_not_waited_for(fake_plan: MakePlan, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"(?s)took the server's port while it started.*Errno 98"):
        start(fake_plan("port-taken", start_s=60), tmp_path)


def test_a_guard_that_is_killed_is_noticed_and_leaves_nothing_behind(fake_plan: MakePlan, tmp_path: Path) -> None:
    plan = fake_plan("leaves-orphans")
    with running(plan.arm("baseline"), start_of(plan), tmp_path / "server.log", lambda _text: None) as server:
        server.check_process()
        own = f"harness-{server._process.pid}-*"
        assert list(Path(gettempdir()).glob(own))
        server._process.kill()
        server._process.wait(10)
        with pytest.raises(ServerDiedError, match="the server's guard was killed by signal 9 during the run"):
            server.check_process()
    assert not list(Path(gettempdir()).glob(own))


def test_a_server_of_a_harness_that_was_killed_is_ended_before_another_is_started(
    fake_plan: MakePlan, tmp_path: Path
) -> None:
    plan = fake_plan("leaves-orphans")
    arm = plan.arm("baseline")
    with running(arm, start_of(plan), tmp_path / "server.log", lambda _text: None) as server:
        end_left_behind(arm)
        assert not server.client.reachable()
        with pytest.raises(ServerDiedError):
            server.check_process()


def test_the_server_ends_when_the_run_inside_raises(fake_plan: MakePlan, tmp_path: Path) -> None:
    plan = fake_plan("leaves-orphans")
    with (
        pytest.raises(KeyboardInterrupt),
        running(plan.arm("baseline"), start_of(plan), tmp_path / "server.log", lambda _text: None),
    ):
        raise KeyboardInterrupt


def test_the_key_is_in_no_process_list_and_no_file_that_others_can_read(fake_plan: MakePlan, tmp_path: Path) -> None:
    seen: list[tuple[str, int]] = []

    def tell(_text: str) -> None:
        file = tmp_path / "server-key.yaml"
        seen.append((file.read_text(), stat.S_IMODE(file.stat().st_mode)))

    # A link that stands in the file's place is not followed.
    (tmp_path / "server-key.yaml").symlink_to(tmp_path / "elsewhere")
    plan = fake_plan()
    with running(plan.arm("baseline"), start_of(plan), tmp_path / "server.log", tell) as server:
        ((text, mode),) = seen
        key = text.split('"')[1]
        assert mode == 0o600
        assert server.client.server_info()["api_key"] == key
        lists = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
        assert not [words for words in lists if any(key in word for word in words)]
        assert not (tmp_path / "server-key.yaml").exists()
    assert not (tmp_path / "elsewhere").exists()


def test_the_tail_of_a_log_steers_neither_terminal_nor_ci_runner(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text("::error::stolen\n\x1b[2Jgone\n")
    assert tail(log).splitlines()[1:] == ["  : :error::stolen", "  ?gone"]


def test_the_tail_of_a_log_names_its_first_line(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text("".join(f"line {number}\n" for number in range(1, 101)))
    assert f"{log} from line 99:\n  line 99\n  line 100" in tail(log, lines=2)


def test_the_tail_of_a_log_keeps_the_servers_key_to_itself(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    key = secrets.token_hex(KEY_BYTES)
    log.write_text(f"server_args=ServerArgs(api_key='{key}', host='127.0.0.1')\n--api-key {key}\n")
    assert key not in tail(log)
    assert "api_key='<redacted>', host='127.0.0.1'" in tail(log)


def test_settings_are_kept_without_state_and_without_keys() -> None:
    info = {
        "api_key": "s3cret",
        "admin_api_key": "s4cret",
        "model_path": "m",
        "port": 1,
        "internal_states": [{"load": 1}],
        "launch_command": "sglang serve --api-key s3cret",
    }
    names = frozenset({"api_key", "admin_api_key", "model_path", "port", "unset"})
    assert server_settings(info, names) == {
        "api_key": "<redacted>",
        "admin_api_key": "<redacted>",
        "model_path": "m",
        "port": 1,
    }


def test_an_unset_key_stays_seen_as_unset() -> None:
    unset = {"api_key": None, "admin_api_key": ""}
    assert server_settings(unset, frozenset(unset)) == unset


CRASH = """[2026-01-01 TP0] ready to roll
Traceback (most recent call last):
  File "early.py", line 1, in early
ValueError: this one was caught
[2026-01-01 TP1] Scheduler hit an exception: Traceback (most recent call last):
  File "scheduler.py", line 9, in run
    step()

RuntimeError: the sum is broken
[2026-01-01] Killing the process tree
"""


def test_a_crashed_servers_excerpt_is_its_last_traceback_without_the_noise(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    noise = "nanobind: leaked 700 instances!\n" + ' - leaked instance 0x7f of type "x"\n' * 700
    log.write_text(CRASH + noise)
    told = tail(log).splitlines()
    assert told[0].endswith("server.log from line 5:")
    assert told[1].endswith("Scheduler hit an exception: Traceback (most recent call last):")
    assert told[-2:] == ["  RuntimeError: the sum is broken", "  [2026-01-01] Killing the process tree"]


def test_a_traceback_long_before_the_end_is_no_end(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text(CRASH + "".join(f"line {number}\n" for number in range(400)))
    assert tail(log, lines=1).endswith("  line 399")


def test_a_server_that_dies_when_it_is_asked_the_known_answer_is_told_as_that(
    fake_plan: MakePlan, tmp_path: Path
) -> None:
    plan = fake_plan("kills-itself@known")
    with (
        pytest.raises(ServerDiedError, match="the server ended with exit code 137 before it gave the known answer"),
        running(plan.arm("baseline"), start_of(plan), tmp_path / "server.log", lambda _text: None),
    ):
        pass
