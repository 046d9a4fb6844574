"""The memory of all runs: what it keeps, how it judges nights, what it says. Can be rebuilt from the run folders."""
