"""Synthesis, placement and routing of a complete core with the YoWASP tools."""

from gen.pnr.flow import BuildError, BuildResult, build

__all__ = ["BuildError", "BuildResult", "build"]
