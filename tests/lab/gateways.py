"""A home router that lets ports be mapped: miniupnpd, with UPnP (IGD 1 or 2), NAT-PMP and PCP."""

import ipaddress
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from crust.threads.clock import Deadline
from tests.lab.namespaces import Node, Running

DAEMON: Final = "miniupnpd"
PACKAGE: Final = "miniupnpd-nftables"
LOOK: Final = 0.1  # seconds between looks at the kernel's rules, which nobody tells of
_UUID: Final = "00000000-0000-4000-8000-000000000001"

# Where the daemon puts its rules. What it lets in over IPv6 passes before everything else from outside is dropped.
_CHAINS = """
table inet filter {
  chain miniupnpd { }
  chain forward {
    type filter hook forward priority -1; policy accept;
    jump miniupnpd
    meta nfproto ipv6 iifname wan ct state new drop
  }
  chain prerouting_miniupnpd { }
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    jump prerouting_miniupnpd
  }
  chain postrouting_miniupnpd { }
  chain postrouting {
    type nat hook postrouting priority 99; policy accept;
    jump postrouting_miniupnpd
  }
}
"""


def missing() -> str | None:
    """What is missing for such a router; None when all is there."""
    return None if shutil.which(DAEMON) else f"this needs a UPnP router: apt-get install {PACKAGE}"


class Gateway:
    """miniupnpd on a router. It ends with the lab, or by `stop`.

    Args:
        router: has the interfaces ``wan`` and ``lan``, and the rules of a home router without its drop of what is new.
        settings: lines of its configuration that replace the usual ones.
    """

    def __init__(self, router: Node, **settings: str) -> None:
        self.router = router
        self._pause = threading.Event()
        self._settings = settings
        self._running: Running | None = None
        self._directory = tempfile.TemporaryDirectory(prefix="crust-gateway-")
        router.lab.cleanup.callback(self._directory.cleanup)
        router.rules(_CHAINS)
        # All chains have to let a packet pass: that of the home router drops what is new, unless it was mapped.
        router.run("nft", "insert", "rule", "ip", "home", "forward", "ct", "status", "dnat", "accept")
        self.start()

    def start(self) -> None:
        """Start the daemon; it has forgotten all its mappings."""
        directory = Path(self._directory.name)
        usual = {
            "ext_ifname": "wan",
            "listening_ip": "lan",
            "enable_natpmp": "yes",
            "enable_upnp": "yes",
            "secure_mode": "yes",
            "system_uptime": "no",
            "min_lifetime": "2",
            "max_lifetime": "86400",
            "uuid": _UUID,
            "lease_file": str(directory / "leases"),
            "notify_interval": "60",
        }
        config = directory / "miniupnpd.conf"
        lines = [f"{key}={value}" for key, value in {**usual, **self._settings}.items() if value]
        config.write_text(
            "\n".join([*lines, "allow 1024-65535 0.0.0.0/0 1024-65535", "deny 0-65535 0.0.0.0/0 0-65535", ""])
        )
        self._running = self.router.start(DAEMON, "-d", "-f", str(config), "-P", str(directory / "pid"))

    def stop(self) -> None:
        """End the daemon as an orderly shutdown of the router does."""
        if self._running is not None:
            self._running.interrupt()
            self._running.finish()
            self._running = None

    def clear(self) -> None:
        """Forget all mappings, as a router does that was switched off."""
        for name in ("leases", "pid"):
            (Path(self._directory.name) / name).unlink(missing_ok=True)
        for chain in ("miniupnpd", "prerouting_miniupnpd", "postrouting_miniupnpd"):
            self.router.run("nft", "flush", "chain", "inet", "filter", chain)

    def mapped(self) -> int:
        """How many ports it forwards now, as the kernel has it."""
        return self.router.run("nft", "list", "chain", "inet", "filter", "prerouting_miniupnpd").count("dnat")

    def holes(self, address: str) -> int:
        """How many holes its firewall has for an IPv6 address now."""
        rules = self.router.run("nft", "list", "chain", "inet", "filter", "miniupnpd")
        # The daemon compares bytes of the header, which nft shows as a number.
        return rules.count(f"{int(ipaddress.IPv6Address(address)):#x} ") + rules.count(f"ip6 daddr {address} ")

    def becomes_open(self, address: str, count: int, seconds: float) -> bool:
        """Whether its firewall has so many holes for an IPv6 address within that time."""
        return self._watch(lambda: self.holes(address) == count, seconds)

    def maps_to(self, address: str, seconds: float) -> bool:
        """Whether it forwards a port to that address within that time."""
        chain = ["nft", "list", "chain", "inet", "filter", "prerouting_miniupnpd"]
        return self._watch(lambda: f"dnat ip to {address}:" in self.router.run(*chain), seconds)

    def becomes_mapped(self, count: int, seconds: float) -> bool:
        """Whether it forwards so many ports within that time."""
        return self._watch(lambda: self.mapped() == count, seconds)

    def let_pass(self, seconds: float) -> None:
        """Let real time pass: leases are the daemon's, and so is its clock."""
        self._pause.wait(seconds)

    def _watch(self, condition: Callable[[], bool], seconds: float) -> bool:
        deadline = Deadline(seconds)
        while not condition():
            if deadline.expired:
                return False
            self._pause.wait(LOOK)
        return True
