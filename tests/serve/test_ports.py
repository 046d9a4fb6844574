from pathlib import Path

import pytest

from harness.serve import ports


def test_a_free_port_is_none_that_the_kernel_gives_to_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ephemeral = tmp_path / "range"
    monkeypatch.setattr(ports, "EPHEMERAL", ephemeral)
    ephemeral.write_text("32768\t60999\n")
    assert all(ports.LOWEST_PORT <= ports.free_port() < 32768 for _ in range(50))
    ephemeral.write_text("1024\t60999\n")
    assert ports.free_port() >= 1024
    ephemeral.unlink()
    assert ports.free_port() > 0
