"""A run from its plan to its report: the only package that composes the others."""
