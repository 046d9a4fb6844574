"""Model and data, made ready once. Imports config; what converts a model runs in the server's interpreter."""
