"""glibc's memory, kept by processes that compute on a CPU. Imports nothing: nox hands it to other environments."""

KEPT = {"MALLOC_MMAP_THRESHOLD_": str(2**32), "MALLOC_TRIM_THRESHOLD_": str(2**34)}
"""Environment of such a process: memory stays its own once it was used.

By itself glibc gives tensors of some megabytes back and fetches them anew, a page fault for every 4 KiB: a third of
the time of a text's log-probabilities, and more than half of that of the numerical suite's bounds in fp64.
"""
