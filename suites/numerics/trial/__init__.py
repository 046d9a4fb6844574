"""Running a subject on cases, and failing in words. Imports cases, ranks, implementations, harness.collective."""
