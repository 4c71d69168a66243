"""Lowering: a network becomes layers, and each layer the steps that the core executes."""

from gen.lower.network import lower, require_work
from gen.lower.steps import Layer, Step

__all__ = ["Layer", "Step", "lower", "require_work"]
