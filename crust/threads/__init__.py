"""Time, threads and timers: all that waits or is called later is made of these."""
