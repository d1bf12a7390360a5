"""`Burst`: packets to one address that are handed to the system together."""

from typing import TypeAlias

Address: TypeAlias = tuple[str, int] | tuple[str, int, int, int]
"""A socket address as the ``socket`` module has it: IPv4 pairs, or IPv6 with flow label and scope."""


class Burst:
    """Packets to one address, in order, for few system calls where the kernel can (``UDP_SEGMENT``).

    Args:
        address: where to.
        buffers: two per packet, the header and the payload (``b""`` when there is none).
        segment: bytes of each packet; the last one may be shorter.
        dont_fragment: for probes of the path MTU: no router may cut it.
    """

    __slots__ = ("address", "buffers", "dont_fragment", "segment")

    def __init__(
        self, address: Address, buffers: list[bytes | memoryview], segment: int, dont_fragment: bool = False
    ) -> None:
        self.address = address
        self.buffers = buffers
        self.segment = segment
        self.dont_fragment = dont_fragment

    @property
    def count(self) -> int:
        """How many packets it is."""
        return len(self.buffers) // 2
