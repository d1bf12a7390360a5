"""Crust: reliable, encrypted peer-to-peer connections.

Make a `ConnectionManager` with a queue of your own, call ``connect()``, ``send()`` and ``start_listening()`` on it, and
read what happens as `Event` variants from the queue.
"""

from crust._version import __version__ as __version__
