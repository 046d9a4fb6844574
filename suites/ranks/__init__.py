"""Real processes in groups: their pool, what they send, how long it takes. Imports harness.collective alone."""
