"""Where ``crust demo --nat`` takes place: two homes behind routers and one host in the open, in network namespaces.

All of it hangs on one process, the keeper, which lives as long as its standard input is open, and in whose private view
of the file system the namespaces have their names. When we close that input, or die, it ends; with the last process in
it each namespace ends as well, and with that its interfaces, routes and rules. Nothing has to be taken down.
"""

import os
import re
import shutil
import subprocess
import sys
from types import TracebackType
from typing import Final, NamedTuple, Self

PATIENCE: Final = 20.0  # seconds for what takes half of one
TOOLS: Final = {"unshare": "util-linux", "nsenter": "util-linux", "ip": "iproute2", "nft": "nftables"}
"""What is called, and the package that has it."""

# Public addresses, though of nobody here: to reserved ones a node would not connect as it does at home.
OPEN: Final = ("11.1.1.10", "11.2.1.10")
"""Where the host in the open is: in two networks, as if there were two of them, because who asks only one observer
cannot tell how a router treats several."""


class Home(NamedTuple):
    """A host behind a router."""

    host: str
    inner: str
    """The address of the host."""
    outer: str
    """The address that the router has outside."""


HOMES: Final = (Home("ada", "192.168.1.2", "11.1.1.1"), Home("ben", "192.168.2.2", "11.1.1.2"))

_KEEPER: Final = "mount -t tmpfs tmpfs /var/run && mkdir /var/run/netns && echo ready && exec cat"

# A router that let strangers in to itself would note where they came from, and then give that port to nobody else: no
# hole could be punched. No home router does; so what comes unasked for the router itself is dropped as well.
_STREET: Final = """
ip link add street type bridge
ip link set street up
host() {  # name, interface in the street
  ip netns add "$1"
  ip -n "$1" link set lo up
  ip link add "$1" type veth peer name "$2" netns "$1"
  ip link set "$1" master street up
  ip -n "$1" link set "$2" up
}
home() {  # name, address outside, address of the host, address of the router inside
  host "$1-router" wan
  ip -n "$1-router" address add "$2/8" dev wan
  ip netns add "$1"
  ip -n "$1" link set lo up
  ip -n "$1-router" link add lan type veth peer name eth0 netns "$1"
  ip -n "$1-router" address add "$4/24" dev lan
  ip -n "$1-router" link set lan up
  ip -n "$1" address add "$3/24" dev eth0
  ip -n "$1" link set eth0 up
  ip -n "$1" route add default via "$4"
  ip netns exec "$1-router" sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'
  ip netns exec "$1-router" nft -f - <<RULES
table ip home {
  chain translate {
    type nat hook postrouting priority srcnat;
    oifname wan masquerade
  }
  chain unasked {
    type filter hook input priority filter;
    iifname wan ct state established,related accept
    iifname wan counter drop
  }
  chain strangers {
    type filter hook forward priority filter;
    iifname wan ct state new,invalid counter drop
  }
}
RULES
}
"""


class StreetError(Exception):
    """The homes cannot be built, or something in them does not work; the message says why."""


def missing() -> str | None:
    """What keeps this machine from building homes, and what to do about it; ``None`` if nothing does."""
    if sys.platform != "linux":
        return "crust demo --nat needs Linux: it builds routers from network namespaces"
    packages = sorted({package for tool, package in TOOLS.items() if shutil.which(tool) is None})
    if packages:
        tools = ", ".join(tool for tool in TOOLS if shutil.which(tool) is None)
        return f"crust demo --nat needs {tools}: install {' '.join(packages)} (apt-get install {' '.join(packages)})"
    if os.geteuid() != 0:
        return "crust demo --nat needs root, to build routers that exist for this demo only: sudo crust demo --nat"
    return None


class Street:
    """All homes. A context manager: afterwards nothing is left, whatever happened.

    Raises:
        StreetError: this machine does not allow it.
    """

    def __init__(self) -> None:
        self._keeper = subprocess.Popen(
            ["unshare", "--mount", "--net", "sh", "-c", _KEEPER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for us
        )
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def _build(self) -> None:
        assert self._keeper.stdout is not None
        assert self._keeper.stderr is not None
        if not self._keeper.stdout.readline():
            raise StreetError(f"no network namespaces could be made: {self._keeper.stderr.read().strip()}")
        script = ["set -e", _STREET, "host open eth0"]
        script += [f"ip -n open address add {address}/8 dev eth0" for address in OPEN]
        script += [f"home {home.host} {home.outer} {home.inner} {home.inner[:-1]}1" for home in HOMES]
        self._run("sh", "-c", "\n".join(script))

    def _run(self, *command: str) -> str:
        try:
            done = subprocess.run(
                [*self._enter(), *command], capture_output=True, text=True, timeout=PATIENCE, check=False
            )
        except subprocess.TimeoutExpired:
            raise StreetError(f"{command[0]} did not end within {PATIENCE:g} s") from None
        if done.returncode:
            raise StreetError(f"{command[0]} failed: {done.stderr.strip() or f'exit code {done.returncode}'}")
        return done.stdout

    def _enter(self) -> list[str]:
        return ["nsenter", f"--target={self._keeper.pid}", "--mount", "--net", "--"]

    def within(self, host: str) -> list[str]:
        """What to put before a command so that it runs on that host: "open", or the one of a home."""
        return [*self._enter(), "ip", "netns", "exec", host]

    def dropped(self, home: Home) -> int:
        """How many packets the router of that home has not let in."""
        rules = self._run("ip", "netns", "exec", f"{home.host}-router", "nft", "list", "table", "ip", "home")
        return sum(map(int, re.findall(r"counter packets (\d+)", rules)))

    def close(self) -> None:
        """Let go of everything. Idempotent."""
        for stream in (self._keeper.stdin, self._keeper.stdout, self._keeper.stderr):
            assert stream is not None
            stream.close()
        self._keeper.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
