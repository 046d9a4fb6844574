"""Which release of SGLang compresses what, counted: see __main__."""
