"""What is too much, and who is not wanted: limits, counts and lists."""
