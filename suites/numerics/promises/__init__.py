"""The promises of an all-reduce, each a function that judges one case. Imports trial, cases and the collective."""

from suites.numerics.promises import accuracy, agreement, conduct, edges, exactness, statistics
from suites.numerics.promises.promise import PROMISES, Promise

__all__ = ["PROMISES", "Promise", "accuracy", "agreement", "conduct", "edges", "exactness", "statistics"]
