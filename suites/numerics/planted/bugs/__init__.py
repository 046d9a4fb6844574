"""Planted bugs by theme; the catalogue says which promise each breaks. Imports implementations and the collective."""
