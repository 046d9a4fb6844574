"""Asks one server: lm-eval's tasks and fixed texts. Imports serve, prepare and below; it alone knows lm-eval."""
