"""Several Ray nodes on one machine, each as a host with room for one server."""

import gc
import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

# All nodes share this machine's memory: no node can know that it is short of it.
os.environ.setdefault("RAY_memory_monitor_refresh_ms", "0")
from ray.cluster_utils import Cluster

# A node that is gone refuses to be asked and is known in three seconds; one that is slow has a minute.
QUICK = {"health_check_period_ms": 1000, "health_check_failure_threshold": 3, "health_check_timeout_ms": 60_000}
STARTS = 5


def first_node() -> Any:
    """Start a cluster whose first node has no room for arms, as a rack's head."""
    head = {"num_cpus": 1, "_system_config": QUICK, "include_dashboard": False}
    return _patiently(lambda: Cluster(initialize_head=True, head_node_args=head))


def add_node(cluster: Any, host: str = "alike", **env: str) -> Any:
    """Add a node, from the program's first thread, whose workers have some variables."""
    own = {"STAND_IN_HOST": host, **env}
    options = {"num_cpus": 1, "resources": {"harness_cpu_server": 1}, "env_vars": own}
    return _patiently(lambda: cluster.add_node(**options, include_dashboard=False))


def _patiently(start: Callable[[], Any]) -> Any:
    """Start something of Ray's: it gives up what takes 30 seconds to start, which on a busy machine is soon."""
    for _ in range(STARTS):
        with suppress(Exception):
            return start()
        with warnings.catch_warnings():
            # What was half started is thrown away while it runs.
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
    return start()
