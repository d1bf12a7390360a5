"""Relayed connections: a peer carries the bytes of a whole secure connection of two others (docs/nat.md)."""
