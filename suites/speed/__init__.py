"""How long a collective takes, measured. Imports ranks, implementations, publish and harness.collective."""
