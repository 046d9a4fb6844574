"""Planted bugs and correct implementations, to test the suite by. Imports trial and implementations."""
