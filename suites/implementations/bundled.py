"""The names by which the bundled collective's algorithms are asked for; its codecs' are ``codec_names()``."""

ALGORITHMS = ("one_shot", "two_shot")
