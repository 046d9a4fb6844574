"""A model of the whole, from measured kernels. Imports speed's measurements, publish and harness.collective."""
