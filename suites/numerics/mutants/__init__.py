"""Planted bugs, one a module. ``suites.numerics.mutation`` says which check kills which."""
