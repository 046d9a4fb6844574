"""What the campaign takes for an open door is one."""

import socket
from collections.abc import Callable

import psutil
import pytest

from suites.faults.sockets import listening
from suites.faults.workflow import WORKFLOW, Step, action_problems, artifact_problems, cache_problems, steps


@pytest.mark.parametrize(
    ("find", "before", "after", "says"),
    [
        (cache_problems, "${{ steps.python.outputs.python-version }}-", "", "lacks steps.python.outputs"),
        (cache_problems, "hashFiles('requirements/*')", "1", "lacks hashFiles"),
        (artifact_problems, "${{ !inputs.server_logs && '!reports/**/server.log' || '' }}", "", "servers' logs"),
        (artifact_problems, "!reports/**/reference/**", "", "hidden states"),
        (action_problems, "@11bd71901bbe5b1630ceea73d27597364c9af683", "@v4", "actions/checkout@v4 is not pinned"),
    ],
)
def test_a_workflow_that_leaves_a_door_open_is_found(
    find: Callable[[list[Step]], list[str]], before: str, after: str, says: str
) -> None:
    text = WORKFLOW.read_text(encoding="utf-8")
    assert find(steps(text)) == []
    assert before in text
    assert says in find(steps(text.replace(before, after)))[0]


def test_a_socket_that_listens_is_seen_with_its_address() -> None:
    with socket.socket() as loopback:
        loopback.bind(("127.0.0.1", 0))
        loopback.listen()
        assert loopback.getsockname() in list(listening([psutil.Process()]))
