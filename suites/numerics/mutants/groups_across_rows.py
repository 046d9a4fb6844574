"""Cuts groups through the flat message, not through each token."""

from torch import Tensor

from suites.numerics.steps import Grouped


class GroupsAcrossRows(Grouped):
    """Planted bug."""

    def encode(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        stored, scale = super().encode(rows)
        count = scale.shape[1]
        flat = scale.flatten().roll(1) if rows.shape[1] % self.group else scale.flatten()
        return super().encode(rows)[0], flat.view(-1, count) + 0 * stored[:, :1]


all_reduce = GroupsAcrossRows()
