"""What the project runs: suites of tasks, and the tests and timings of the collective. Imports nothing itself."""
