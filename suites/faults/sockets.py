"""Who could reach a real server: every socket that its processes listen on, while it runs.

`nox -s faults -- --real`; HARNESS_SERVER_PYTHON and HARNESS_PLUGIN_PATH say where SGLang and the plugin are.
"""

import ipaddress
import os
import time
from collections.abc import Iterator
from contextlib import suppress

import psutil

from harness.places import ROOT, cache
from suites.faults.kinds import INCONCLUSIVE, Expected, Kind, Seen
from suites.faults.lab import MARK, Lab, Running

PATIENCE_S = 900.0
# torch's store, by which ranks find each other: SECURITY.md.
OPEN_PORTS = 1


def kinds() -> Iterator[Kind]:
    """Yield it."""
    yield Kind(
        name="sockets that listen on all interfaces",
        family="doors",
        where="SGLang, CPU, TP 2",
        expected=Expected(codes=(INCONCLUSIVE,), within_s=PATIENCE_S),
        act=_sockets,
        real=True,
    )


def _sockets(lab: Lab) -> Seen:
    """Look at what listens all the while: but for torch's one port it must be loopback."""
    lab.checkout = ROOT
    command = lab.harness("accuracy", "--limit=1", f"--reports={lab.reports}")
    running = Running(lab, command, {**os.environ, "HARNESS_CACHE": str(cache()), MARK: str(lab.place)})
    most, looked, told = 0, 0, ""
    while running.process.poll() is None:
        found = list(listening(lab.processes()))
        everywhere = sorted({port for address, port in found if not ipaddress.ip_address(address).is_loopback})
        looked += bool(found)
        if len(everywhere) > most:
            most, told = len(everywhere), f"{len(found)} sockets, on all interfaces: {everywhere}"
        time.sleep(0.5)
    ended = running.wait(PATIENCE_S)
    problems = [f"too many doors: {told}"] if most > OPEN_PORTS else []
    problems += [] if looked else ["no socket of a server was seen"]
    return Seen(ended=[ended], problems=problems, note=f"at most {most} port on all interfaces at a time")


def listening(processes: list[psutil.Process]) -> Iterator[tuple[str, int]]:
    """Yield address and port of each TCP socket that some processes listen on."""
    for process in processes:
        with suppress(psutil.Error):
            for connection in process.net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN:
                    yield connection.laddr.ip, connection.laddr.port
