"""Which compression is safe for a model: many policies on one server of virtual ranks. Imports run and below."""
