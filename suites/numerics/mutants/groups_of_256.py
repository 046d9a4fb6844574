"""Has half as many scales as it says."""

from suites.numerics.steps import Grouped


class GroupsOf256(Grouped):
    """Planted bug."""

    group = 256


all_reduce = GroupsOf256()
