"""What the system says about a process: memory, threads, CPU."""

import os
import resource
import sys
import threading
import time
from pathlib import Path
from typing import Any


def resident_bytes() -> int:
    """Bytes of memory that this process holds now (on systems without /proc: at its peak)."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")


def state() -> dict[str, Any]:
    """Memory in bytes, threads, and seconds of CPU and of the clock, of this process."""
    return {
        "resident": resident_bytes(),
        "threads": threading.active_count(),
        "cpu": time.process_time(),
        "clock": time.monotonic(),
    }


def allow_descriptors(wanted: int) -> None:
    """Raise the limit of open files to ``wanted`` if the system lets us.

    Raises:
        OSError: it does not; the message says what to do.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            raise OSError(f"{wanted} open files are needed and {hard} allowed: raise the limit with ulimit -n {wanted}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
