"""Correct implementations that differ from the library: none may be refused."""
