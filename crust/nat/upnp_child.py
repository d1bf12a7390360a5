"""What asks a UPnP gateway, in a process of its own: ``python upnp_child.py``, a JSON object in, one out.

miniupnpc has no limit on how long it waits nor on how much it reads, and it is C code that reads what any device of the
network says. So `crust.nat.upnp` runs it here, where it can be ended at a deadline and cannot harm the node. Nothing of
crust is imported: starting must take no time.

In: ``url`` of the gateway's description, ``local`` address, ``lease`` in seconds, ``map`` and ``unmap``: lists of
``[protocol, internal port, external port]``; ``seconds`` after which it ends itself; ``path``, more places to import
from. Out: ``error``; or ``external`` (an address or null), ``mapped``: lists of ``[protocol, internal port, external
port, lease in seconds]``, 0 for no end, ``failed``: lists of ``[protocol, internal port, why]``, about the address if
there is no protocol, and ``left``: such lists of what could not be unmapped. Where ``local`` is an IPv6 address it is
about holes in a firewall, and `crust.nat.pinhole_child` does it.
"""

import faulthandler
import importlib
import json
import os
import random
import sys
from collections.abc import Iterator
from typing import Any, Protocol
from urllib.parse import urlsplit

DESCRIPTION = "crust"
"""What users see in the list of their router. Letters only: some routers take a mapping with other characters in its
name, and then do not make it."""
NEAR = 4  # ports after the wanted one that are tried
ANYWHERE = 4  # random ones after these
_FIRST_FREE_PORT = 1024
_MEMORY = 128 * 1024 * 1024  # bytes of address space: a good gateway needs a sixth of it
_LONGEST_TEXT = 100  # characters of what a router says

# Texts of miniupnpc for codes of WANIPConnection:2, section 2.5.
_CONFLICT = ("ConflictInMappingEntry", "ConflictWithOtherMechanisms")
_PERMANENT_ONLY = ("OnlyPermanentLeasesSupported", "Invalid Args", "Argument Value Out of Range")
_SAME_PORTS = "SamePortValuesRequired"
_NOT_THERE = "NoSuchEntryInArray"


class Igd(Protocol):
    """What is used of ``miniupnpc.UPnP``; errors are exceptions of any kind, with a text."""

    lanaddr: str

    def selectigd(self, url: str) -> str: ...
    def externalipaddress(self) -> str: ...
    def addportmapping(
        self, external: int, protocol: str, host: str, internal: int, text: str, remote: str, lease: int
    ) -> bool: ...
    def getspecificportmapping(self, external: int, protocol: str) -> "tuple[Any, ...] | None": ...
    def deleteportmapping(self, external: int, protocol: str) -> bool: ...


class Refused(Exception):
    """A router did not make or end a mapping; with the reason."""


def serve(request: "dict[str, Any]", igd: Igd) -> "dict[str, Any]":
    """Do what is asked, and say what came of it."""
    try:
        control = igd.selectigd(request["url"])
    except Exception as error:
        return {"error": f"its description cannot be read: {_text(error)}"}
    if urlsplit(control).path in ("", "/"):  # what miniupnpc makes of no path at all
        return {"error": "its description names nothing that maps ports"}
    if urlsplit(control).hostname != urlsplit(request["url"]).hostname:
        return {"error": "its description sends us to another device"}
    if igd.lanaddr != request["local"]:  # routers map ports to who asks, and that would be another address
        return {"error": f"it is reached from {_text(igd.lanaddr)}"}
    answer: dict[str, Any] = {"external": None, "mapped": [], "failed": [], "left": []}
    for protocol, internal, external in request["unmap"]:
        try:
            _unmap(igd, protocol, request["local"], internal, external)
        except Refused as refused:
            answer["left"].append([protocol, internal, str(refused)])
    try:
        if request["map"]:
            answer["external"] = igd.externalipaddress() or None
    except Exception as error:
        answer["failed"].append(["", 0, f"does not tell its outside address: {_text(error)}"])
    for protocol, internal, external in request["map"]:
        try:
            got = _map(igd, protocol, request["local"], internal, external, request["lease"])
            answer["mapped"].append([protocol, internal, *got])
        except Refused as refused:
            answer["failed"].append([protocol, internal, str(refused)])
    return answer


def candidates(internal: int, wanted: int) -> "Iterator[int]":
    """External ports to try, the best first; each once."""
    near = [wanted, internal, *range(internal + 1, internal + 1 + NEAR)]
    somewhere = [random.randint(_FIRST_FREE_PORT, 65535) for _ in range(ANYWHERE)]
    return iter([port for port in dict.fromkeys(near + somewhere) if 0 < port < 65536])


def _map(igd: Igd, protocol: str, local: str, internal: int, wanted: int, lease: int) -> "tuple[int, int]":
    """External port and lease of a new or renewed mapping."""
    said = "has no free port near ours"
    for external in candidates(internal, wanted):
        entry = _entry(igd, external, protocol)
        # Routers differ in whether they protect the mappings of others, so we do. Ours may be older than this process.
        if entry is not None and entry[:2] != (local, internal):
            continue
        for seconds in dict.fromkeys((lease, 0)):
            try:
                igd.addportmapping(external, protocol, local, internal, DESCRIPTION, "", seconds)
                return external, _given(igd, external, protocol, local, internal, seconds)
            except Refused:
                raise
            except Exception as error:
                said = _text(error)
                if said not in _PERMANENT_ONLY:
                    break
        if said == _SAME_PORTS and external != internal:
            continue
        if said not in _CONFLICT:
            break
    raise Refused(f"did not map the port: {said}")


def _given(igd: Igd, external: int, protocol: str, local: str, internal: int, asked: int) -> int:
    """The lease in seconds of a mapping that the router says it has made."""
    entry = _entry(igd, external, protocol)
    if entry is None:
        return asked  # some cannot be asked
    if entry[:2] != (local, internal):
        raise Refused("says it has mapped the port, but has not")
    left = entry[2]
    # Some say nothing of leases: what was asked for counts then, so that it is renewed.
    return min(left, asked) if asked and left > 0 else asked


def _entry(igd: Igd, external: int, protocol: str) -> "tuple[str, int, int] | None":
    """Host, port and seconds left of the mapping that is there."""
    try:
        entry = igd.getspecificportmapping(external, protocol)
        return None if entry is None else (str(entry[0]), int(entry[1]), int(entry[4]))
    except Exception:
        return None


def _unmap(igd: Igd, protocol: str, local: str, internal: int, external: int) -> None:
    entry = _entry(igd, external, protocol)
    if entry is not None and entry[:2] != (local, internal):
        return  # it is not ours any more
    try:
        igd.deleteportmapping(external, protocol)
    except Exception as error:
        if _text(error) != _NOT_THERE:
            raise Refused(f"did not end the mapping of external port {external}: {_text(error)}") from None


def _text(error: object) -> str:
    return "".join(each for each in str(error) if each.isprintable())[:_LONGEST_TEXT]


def _limit_memory() -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, ValueError, OSError):
        pass  # not on this system; the deadline remains


def main() -> None:
    """Serve one request."""
    request = json.loads(sys.stdin.readline())
    # Should the one who started us be gone by then, nobody else would end this process.
    faulthandler.dump_traceback_later(request["seconds"], exit=True, file=open(os.devnull, "w"))  # noqa: SIM115
    _limit_memory()
    answer = _holes(request) if ":" in request["local"] else _mappings(request)
    sys.stdout.write(json.dumps(answer) + "\n")


def _mappings(request: "dict[str, Any]") -> "dict[str, Any]":
    sys.path += request["path"]
    try:
        import miniupnpc
    except ImportError as error:
        return {"error": f"miniupnpc is not installed: {error}"}
    return serve(request, miniupnpc.UPnP())


def _holes(request: "dict[str, Any]") -> "dict[str, Any]":
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))  # last: nothing of Python is hidden
    answer: dict[str, Any] = importlib.import_module("pinhole_child").serve(request)
    return answer


if __name__ == "__main__":
    main()
