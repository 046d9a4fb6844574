"""The conformance suite of an all-reduce. Imports ranks, implementations, publish and harness.collective."""
