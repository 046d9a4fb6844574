"""The promises of a quantized all-reduce, each a function that judges one case."""

from suites.numerics.checks import accuracy, agreement, conduct, edges, exactness, statistics
from suites.numerics.checks.check import CHECKS, Check

__all__ = ["CHECKS", "Check", "accuracy", "agreement", "conduct", "edges", "exactness", "statistics"]
