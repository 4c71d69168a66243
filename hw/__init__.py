"""The core's components, configuration, register and descriptor layouts."""
