"""A port of a box in user space: Ethernet and ARP (RFC 826) between a network and IPv4 packets. Pure."""

from typing import NamedTuple

_IPV4, _ARP = b"\x08\x00", b"\x08\x06"
_EVERYBODY = b"\xff" * 6
_NOBODY = bytes(6)
_REQUEST, _REPLY = b"\x00\x01", b"\x00\x02"
_HEAD = b"\x00\x01" + _IPV4 + b"\x06\x04"  # Ethernet and IPv4, with addresses of six and four bytes
_ASK_AGAIN = 0.5  # seconds
_MAX_WAITING = 256  # packets for a neighbour that does not answer


class Arrived(NamedTuple):
    """What a frame was."""

    packet: bytes | None  # IPv4
    frames: list[bytes]  # to be sent at once on this port


class Port:
    """One side of the box.

    Args:
        mac: its own, six bytes.
        host: the address it has here, four bytes.
        proxy: it answers for every address but ``host``, which is that of the machine behind this port.
        gateway: where packets go that are not for the /24 network of ``host``; None: they go nowhere.
    """

    def __init__(self, mac: bytes, host: bytes, *, proxy: bool = False, gateway: bytes | None = None) -> None:
        self._mac = mac
        self._host = host
        self._proxy = proxy
        self._gateway = gateway
        self._neighbours: dict[bytes, bytes] = {}
        self._waiting: dict[bytes, list[bytes]] = {}
        self._asked: dict[bytes, float] = {}

    def arrive(self, frame: bytes) -> Arrived:
        """A frame came from the network."""
        kind = frame[12:14]
        if kind == _IPV4:
            return Arrived(frame[14:] if frame[:6] == self._mac else None, [])
        if kind == _ARP and len(frame) >= 42 and frame[14:20] == _HEAD:
            return Arrived(None, self._arp(frame[14:42]))
        return Arrived(None, [])

    def _arp(self, message: bytes) -> list[bytes]:
        operation, mac, host, wanted = message[6:8], message[8:14], message[14:18], message[24:28]
        frames = []
        if host != bytes(4):
            self._neighbours[host] = mac
            frames = [self._frame(mac, packet) for packet in self._waiting.pop(host, [])]
        if operation == _REQUEST and (wanted == self._host) != self._proxy:
            frames.append(mac + self._mac + _ARP + _HEAD + _REPLY + self._mac + wanted + mac + host)
        return frames

    def leave(self, packet: bytes | bytearray, now: float) -> list[bytes]:
        """The frames to be sent for a packet; it waits while its neighbour is not known."""
        host = bytes(packet[16:20])
        if host[:3] != self._host[:3]:
            if self._gateway is None:
                return []
            host = self._gateway
        mac = self._neighbours.get(host)
        if mac is not None:
            return [self._frame(mac, packet)]
        waiting = self._waiting.setdefault(host, [])
        if len(waiting) < _MAX_WAITING:
            waiting.append(bytes(packet))
        if now < self._asked.get(host, 0.0) + _ASK_AGAIN:
            return []
        self._asked[host] = now
        own = bytes(4) if self._proxy else self._host  # it has no address of its own then
        return [_EVERYBODY + self._mac + _ARP + _HEAD + _REQUEST + self._mac + own + _NOBODY + host]

    def _frame(self, mac: bytes, packet: bytes | bytearray) -> bytes:
        return mac + self._mac + _IPV4 + packet
