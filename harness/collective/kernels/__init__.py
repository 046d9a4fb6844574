"""Triton kernels of the CUDA backend. Imported by that backend alone, since Triton may not be there.

Kernels' integers are annotated as tensors: Triton takes the annotation ``int`` as "always 32 bits", and then
neither takes larger strides nor makes use of a stride of 1.
"""
