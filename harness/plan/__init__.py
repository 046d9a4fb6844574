"""What a run will do, as pure data, and whether it can. Imports config and records."""
