"""The accuracy-validation harness. Nothing is imported here: every SGLang process imports this package."""
