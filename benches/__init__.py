"""Measurements: how fast Crust is beside others, where its time goes, and how it holds up. README.md has the method."""
