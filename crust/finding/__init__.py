"""Whom to connect to: bootstrapping, gossip and the LAN, put together."""
