"""Which address of this machine a packet for somebody bears: `source_towards`."""

import socket

from crust.endpoint import Endpoint


def source_towards(remote: Endpoint) -> str | None:
    """The address, without a scope, from which the system would send there now; ``None`` if it has no way there.

    Nothing is sent, and nothing blocks. Any thread may call.

    Args:
        remote: where to; ``None`` comes of a name, which is not looked up.
    """
    if remote.is_name:
        return None
    family = socket.AF_INET6 if ":" in remote.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect(remote.address)
            host: str = sock.getsockname()[0]
    except OSError:
        return None
    return host.partition("%")[0]
