"""The steps with a scale per group of 128."""

from suites.numerics.steps import Grouped

all_reduce = Grouped()
