"""The conformance suite of an all-reduce. Imports ranks, implementations, publish, harness.collective and .cache."""
