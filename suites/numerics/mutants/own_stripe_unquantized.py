"""Keeps its own stripe of the sum as it was, while its peers decode it."""

from torch import Tensor, distributed

from suites.numerics.steps import Group, TwoShot


class OwnStripeUnquantized(TwoShot):
    """Planted bug."""

    def join(self, out: Tensor, total: Tensor, group: Group) -> Tensor:
        out[distributed.get_rank(group)] = total
        return out


all_reduce = OwnStripeUnquantized()
