"""Network namespaces that cannot be left behind.

A `Lab` is one small process in mount, network and process-id namespaces of its own; its nodes are named network
namespaces that only it sees. It lives as long as its standard input is open. When this process closes it or dies,
however it dies, the kernel ends everything that runs in the lab, and with it all interfaces, rules and namespaces. Labs
never meet.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Self

ROOT = Path(__file__).parents[2]
TOOLS = {
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "ip": "iproute2",
    "tc": "iproute2",
    "nft": "nftables",
    "sysctl": "procps",
    "ping": "iputils-ping",
}
"""What the lab calls, and the Debian package that has it."""
PATIENCE = 30.0  # seconds for a command that configures something; they take milliseconds

# The pid is read before /proc is mounted anew, so it is the one by which the outside knows this process.
_KEEPER = """
read -r pid rest < /proc/self/stat
mount -t proc proc /proc && mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns && ip link set lo up || exit 1
echo "$pid"
exec cat
"""


class LabError(Exception):
    """A command of the lab failed; says which and why."""


def missing() -> str | None:
    """What keeps this machine from running a lab, in words for the one who can change it; None when all is there."""
    if sys.platform != "linux":
        return "the lab needs Linux: it is made of network namespaces"
    packages = sorted({package for tool, package in TOOLS.items() if shutil.which(tool) is None})
    if packages:
        return f"the lab needs more tools: apt-get install {' '.join(packages)}"
    if os.geteuid() != 0:
        return "the lab needs root, to make network namespaces (all it does stays inside them): sudo make lab"
    if not Path("/dev/net/tun").exists():
        return "the lab needs /dev/net/tun: modprobe tun"
    return None


def say(line: str) -> None:
    """Print a line at once: for the programs that run in nodes."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Running:
    """A program in a node, with pipes to its standard streams. It ends with its lab if not before."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self.child = child

    @property
    def stdin(self) -> IO[str]:
        assert self.child.stdin is not None
        return self.child.stdin

    @property
    def stdout(self) -> IO[str]:
        assert self.child.stdout is not None
        return self.child.stdout

    def line(self) -> str:
        """The next line of its output, which must come.

        Raises:
            LabError: it ended instead.
        """
        line = self.stdout.readline()
        if not line:
            raise LabError(f"{self.child.args!r} ended with {self.child.wait(PATIENCE)}: see its error output above")
        return line.rstrip("\n")

    def interrupt(self) -> None:
        """What Ctrl-C does."""
        self._signal(signal.SIGINT)

    def finish(self, timeout: float = PATIENCE) -> str:
        """Close its standard input, which tells programs of the lab to end, and return the rest of its output.

        After ``timeout`` seconds it is killed.
        """
        self.stdin.close()
        # nsenter stops when its program is stopped, as by one who wants a quiet machine for a while, and does not
        # go on by itself when its program does.
        self._signal(signal.SIGCONT)
        overdue = threading.Timer(timeout, self._signal, [signal.SIGKILL])
        overdue.start()
        try:
            return self.stdout.read()  # until it ends
        finally:
            overdue.cancel()
            self.kill()
            overdue.join()

    def _signal(self, number: int) -> None:
        if self.child.poll() is None:  # else its number may be another's by now
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.child.pid, number)

    def kill(self) -> None:
        """End it now."""
        self._signal(signal.SIGKILL)
        self.child.wait(PATIENCE)
        self.stdin.close()
        self.stdout.close()


class Node:
    """One network namespace: a host, a router or a switch. Made by `Lab.node`."""

    def __init__(self, lab: "Lab", name: str, namespace: str) -> None:
        self.lab = lab
        self.name = name
        # nsenter waits for its program, outside the lab. It must not outlive us either: if stopped, it never reaps it.
        self._enter = ["setpriv", "--pdeathsig=KILL", "nsenter", f"--target={lab.pid}", "--mount", "--pid"]
        self._enter += [f"--net={namespace}", "--"]

    def __repr__(self) -> str:
        return f"<node {self.name}>"

    def run(self, *command: str, stdin: str | None = None, timeout: float = PATIENCE) -> str:
        """Run a command in this node and wait for it; its output.

        Raises:
            LabError: it failed; with what it said.
        """
        done = subprocess.run(
            [*self._enter, *command], input=stdin, capture_output=True, text=True, timeout=timeout, check=False
        )
        if done.returncode:
            said = (done.stderr or done.stdout).strip()
            raise LabError(f"in node {self.name}: {' '.join(command)}: {said or f'status {done.returncode}'}")
        return done.stdout

    def start(self, *command: str) -> Running:
        """Start a program in this node; its error output goes to ours. It dies with the thread that calls this."""
        child = subprocess.Popen(
            [*self._enter, *command],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # so that nsenter and the program that it waits for can be killed together
        )
        running = Running(child)
        self.lab.cleanup.callback(running.kill)
        return running

    def python(self, module: str, *arguments: str) -> Running:
        """Start a Python module of this checkout in this node."""
        return self.start(sys.executable, "-m", module, *arguments)

    def sysctl(self, **settings: int | str) -> None:
        """Set kernel parameters; ``net__ipv4__ip_forward=1`` stands for ``net.ipv4.ip_forward=1``."""
        for key, value in settings.items():
            self.run("sysctl", "-q", "-w", f"{key.replace('__', '.')}={value}")

    def rules(self, text: str) -> None:
        """Load nftables rules."""
        self.run("nft", "-f", "-", stdin=text)


class Lab:
    """A set of nodes that lives and dies with this object. Use ``with``.

    Raises:
        LabError: the namespaces could not be made.
    """

    def __init__(self) -> None:
        self.cleanup = contextlib.ExitStack()
        self.nodes: dict[str, Node] = {}
        self._keeper = subprocess.Popen(
            ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", _KEEPER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.cleanup.callback(self._end_keeper)
        assert self._keeper.stdout is not None
        pid = self._keeper.stdout.readline().strip()
        if not pid:
            self.cleanup.close()
            raise LabError("no namespaces could be made: see the error output above")
        self.pid = int(pid)
        self.outside = Node(self, "outside", f"/proc/{pid}/ns/net")
        """The namespace in which nothing is but what runs between nodes, such as a link of ours."""

    def _end_keeper(self) -> None:
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        self._keeper.stdin.close()
        self._keeper.wait(PATIENCE)
        self._keeper.stdout.close()

    def node(self, name: str) -> Node:
        """Make a node without any interface but loopback."""
        self.outside.run("ip", "netns", "add", name)
        node = Node(self, name, f"/proc/{self.pid}/root/run/netns/{name}")
        node.run("ip", "link", "set", "dev", "lo", "up")
        self.nodes[name] = node
        return node

    def close(self) -> None:
        """End everything in the lab."""
        self.cleanup.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
