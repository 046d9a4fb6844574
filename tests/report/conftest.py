"""The plan whose runs are reported."""

from pathlib import Path

import pytest

from harness.plan.plan import Plan
from tests.support import make


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return make(tmp_path)
