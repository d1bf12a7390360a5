"""What a link does to packets: a rate with a queue, and random loss, by the kernel; the rest is in `tun_link`."""

from typing import Final

from tests.lab.wiring import Interface

_BURST: Final = "96kbit"  # 5 ms at 20 Mbit/s: what the kernel sends at once when its timer was late, rather than never


def bottleneck(interface: Interface, rate: float, queue: float) -> None:
    """Let an interface send no faster than ``rate``, with a queue behind it that drops what does not fit.

    Args:
        interface: what leaves it is slowed down.
        rate: bits/s, IP or Ethernet headers included.
        queue: how long a packet can wait before newer ones are dropped, seconds.
    """
    shape = ["rate", f"{rate / 1e6:g}mbit", "burst", _BURST, "latency", f"{queue * 1e3:g}ms"]
    interface.node.run("tc", "qdisc", "replace", "dev", interface.name, "root", "tbf", *shape)


def random_loss(interface: Interface, share: float) -> None:
    """Drop a share (0-1) of what a router forwards out of an interface."""
    name, threshold = interface.name, round(share * 10_000)
    interface.node.rules(f"""
table inet loss-{name} {{
  chain forward {{
    type filter hook forward priority filter;
    oifname {name} numgen random mod 10000 < {threshold} drop
  }}
}}
""")
