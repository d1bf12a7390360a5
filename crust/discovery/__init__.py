"""How a node finds others: the cache of contacts that worked, the beacon on the LAN, and gossip between peers."""
