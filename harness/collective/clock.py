"""A clock for work that a device does: it waits for what was asked of the device before it is read."""

import time

import torch


def device_seconds(device: torch.device) -> float:
    """Return `time.perf_counter()` once `device` has done all that was asked of it.

    A call for a GPU or an NPU returns before its work is done: without waiting, the next one to ask for a result
    would be charged with it. Nothing is waited for on a CPU, or while a CUDA graph is captured, which forbids it and
    does no work.

    Args:
        device: Where the work is done.
    """
    if device.type != "cpu":
        module = torch.get_device_module(device)
        capturing = getattr(module, "is_current_stream_capturing", None)
        if capturing is None or not capturing():
            module.synchronize()
    return time.perf_counter()
