"""Pruning: zeros where the core gains from them, and fine-tuning: ``python -m models.prune``."""
