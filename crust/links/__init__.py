"""One connection with its threads and its queue, and the tables of who is connected."""
