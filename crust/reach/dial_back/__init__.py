"""Verified reachability: connected nodes try each other's endpoints from fresh sockets (docs/nat.md)."""
