"""What people write, checked: suites and thresholds. Imports pydantic and YAML, nothing of the flow."""
