"""The report: JSON first, every other form drawn from it."""
