"""A BitTorrent client that talks only uTP: ``python -m tests.interop.libtorrent_peer dial PORT | serve``.

It has one torrent, with `INFO_HASH`. JSON lines come out of it: ``{"port": 1234}``; ``{"event": "handshake"}`` when the
other end's BitTorrent handshake was accepted; ``{"event": "gone"}`` when a connection has ended. A line on its input
makes it drop the torrent, and with it the connection; the end of its input ends it.
"""

import json
import sys
import threading
from typing import Any

import libtorrent

INFO_HASH = b"crust info hash 20 B"
PLAIN = 2  # pe_disabled of libtorrent: no encryption of its own, so that the first 68 bytes are the handshake
SETTINGS = {
    "listen_interfaces": "127.0.0.1:0",
    "enable_incoming_tcp": False,
    "enable_outgoing_tcp": False,
    "enable_incoming_utp": True,
    "enable_outgoing_utp": True,
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "in_enc_policy": PLAIN,
    "out_enc_policy": PLAIN,
    "alert_mask": libtorrent.alert.category_t.all_categories,
}
TURN = 100  # milliseconds


def say(**fields: Any) -> None:
    """Write a line."""
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def notice(alert: Any) -> None:
    """Say what matters of ``alert``."""
    kind, text = type(alert).__name__, alert.message()
    if kind == "peer_log_alert" and "HANDSHAKE [ connection ready" in text:
        say(event="handshake")
    elif kind in ("peer_disconnected_alert", "peer_error_alert"):
        say(event="gone", why=text)


def obey(leave: threading.Event, end: threading.Event) -> None:
    """Read the input to its end."""
    if sys.stdin.readline():
        leave.set()
        sys.stdin.read()
    end.set()


def main() -> None:
    """Run until the input ends."""
    role, *port = sys.argv[1:]
    session: Any = libtorrent.session(SETTINGS)  # type: ignore[call-overload, unused-ignore]  # a dict is as good
    parameters = libtorrent.add_torrent_params()
    parameters.info_hashes = libtorrent.info_hash_t(libtorrent.sha1_hash(INFO_HASH))
    parameters.save_path = "."
    torrent = session.add_torrent(parameters)
    if role == "dial":
        torrent.connect_peer(("127.0.0.1", int(port[0])))
    say(port=session.listen_port())
    leave, end = threading.Event(), threading.Event()
    threading.Thread(target=obey, args=(leave, end), daemon=True).start()
    while not end.is_set():
        session.wait_for_alert(TURN)
        for alert in session.pop_alerts():
            notice(alert)
        if leave.is_set() and torrent is not None:
            session.remove_torrent(torrent)
            torrent = None


if __name__ == "__main__":
    main()
