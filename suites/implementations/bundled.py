"""What of the bundled collective has no end of names; its other codecs' are ``codec_names()``."""

SPARING = ("int8_token_rows4", "int4_group32_columns3+17+40")
"""Codecs whose names take parameters, by one example each; the columns are those of the data's spikes."""
