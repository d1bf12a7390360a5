"""The version of the distribution; read by ``setup.py`` and sent to peers for diagnostics."""

__version__ = "0.1.0"
