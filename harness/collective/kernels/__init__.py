"""Triton kernels of the CUDA backend. Imported by that backend alone, since Triton may not be there."""
