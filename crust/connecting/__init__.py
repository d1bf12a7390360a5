"""From an address, or a stranger at the door, to a chosen connection; and what is told to the manager."""
