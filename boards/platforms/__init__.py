"""Platforms of boards that amaranth-boards does not have."""
