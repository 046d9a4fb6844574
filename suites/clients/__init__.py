"""Clients of one server, side by side: ``nox -s bench -- --server``."""
