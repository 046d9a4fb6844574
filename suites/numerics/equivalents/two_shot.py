"""The steps of two-shot."""

from suites.numerics.steps import TwoShot

all_reduce = TwoShot()
