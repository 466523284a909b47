"""Batch normalization of tensors by the engine: the operator, its derivatives, modules."""
