"""The promises of an all-reduce, a function each. Imports trial, cases, ranks, implementations, publish."""

from suites.numerics.promises import accuracy, agreement, conduct, edges, exactness, statistics
from suites.numerics.promises.promise import PROMISES, Promise

__all__ = ["PROMISES", "Promise", "accuracy", "agreement", "conduct", "edges", "exactness", "statistics"]
