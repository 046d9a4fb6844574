"""What is run: suites of tasks, and the tests and timings of the collective. Imports what `harness` has for all."""
