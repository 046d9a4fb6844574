"""How long an all-reduce takes, plain and compressed, on links nobody here has: measured kernels, stated links."""
