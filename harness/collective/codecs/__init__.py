"""One codec a file; ``harness.collective.registry`` lists them."""
