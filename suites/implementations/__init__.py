"""All-reduces beside the bundled one, by hand and upstream's. Imports harness.collective; one of them SGLang."""
