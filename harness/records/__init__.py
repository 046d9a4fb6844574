"""What a run leaves on disk, and where. Imports the standard library and pydantic."""
