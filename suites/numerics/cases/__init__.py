"""What a collective is tried on: cases and their data. Imports harness.collective alone."""
