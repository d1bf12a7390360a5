"""Relayed connections: their frames, their channels, and streams through a node in the middle."""
