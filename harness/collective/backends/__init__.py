"""Who does a collective's local work, by device."""
