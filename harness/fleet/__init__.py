"""A fleet: the arms of many runs, shared out over hosts by Ray, gathered and judged as single runs are."""
