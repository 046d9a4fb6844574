"""What a run needs beside servers: a model and data, prepared once and kept."""
