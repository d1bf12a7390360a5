"""Getting through address translation: local addresses, port mapping, address discovery and hole punching."""
