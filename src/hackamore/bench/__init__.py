"""Ours beside diffusers' pipelines: the same weights, seeds, steps and precision, in turn on one machine."""
