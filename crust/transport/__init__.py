"""What carries bytes between peers: streams, the secure channel over them, and the frames inside."""
