"""Settings: `Config`, a frozen and validated dataclass, and the YAML that it is read from and written to."""

import dataclasses
import difflib
import logging
import os
import stat
from dataclasses import dataclass, field
from typing import Any, Final, Self

from crust import files, limits
from crust.endpoint import Endpoint
from crust.errors import ConfigError
from crust.settings import checks, search, yaml_files
from crust.settings.checks import Invalid

log = logging.getLogger("crust.config")

DEFAULT_BEACON_PORT: Final = 5483


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All settings of a manager; every one has a default. The YAML keys are the field names.

    ``Config()`` reads no file; `load` does. A `Config` never changes; `replace` makes another one. Sizes are in bytes,
    times in seconds (whole numbers will do).

    Raises:
        ConfigError: a setting is wrong; the message names it, what was given and what is allowed.
    """

    # --- where to listen --------------------------------------------------------------------------

    tcp_port: int | None = 0
    """TCP port of the listener: 1 to 65535; 0 for any free one (the usual one first); ``None`` for no TCP listener.
    A port that is busy is replaced by a free one."""

    utp_port: int | None = 0
    """The same for uTP, on UDP."""

    tracer_port: int | None = None
    """The same for tracer connections, which are clear text to be watched. Needs ``allow_tracer``."""

    beacon_port: int | None = DEFAULT_BEACON_PORT
    """UDP port on which peers of the local network find each other; all of them need the same one. 0 for any free one,
    on which nobody finds this node but it finds others; ``None`` for no beacon."""

    listen_addresses: tuple[str, ...] = ("0.0.0.0", "::")
    """IP addresses to listen on, at least one; ``0.0.0.0`` and ``::`` stand for all."""

    # --- who may talk to us -----------------------------------------------------------------------

    network: str = "crust"
    """Name of the network, 1 to 255 bytes. Nodes of different networks cannot talk. Not a secret."""

    network_key: bytes | None = field(default=None, repr=False)
    """Secret of a closed network, 16 to 1024 bytes: who does not have it gets no byte of an answer. In YAML (and here)
    also text: a passphrase, or ``hex:`` and hexadecimal digits. A weak one can be guessed; take 32 random bytes."""

    blacklist_file: str | None = None
    """File with peers and addresses that are not talked to, one on each line: peer ids, IP addresses, networks such as
    192.0.2.0/24; # begins a comment. It is looked at every few seconds, and read again when it has changed. ``None``
    for none."""

    allow_tracer: bool = False
    """Whether tracer connections are made and accepted. They are neither encrypted nor authenticated."""

    # --- finding peers ----------------------------------------------------------------------------

    hard_coded_contacts: tuple[Endpoint, ...] = ()
    """Endpoints that ``bootstrap()`` tries; text such as ``"tcp://192.0.2.7:5483"`` becomes an `Endpoint`.
    At most 1024."""

    override_default_bootstrap: bool = False
    """Whether ``bootstrap()`` and ``target_connections`` try the hard-coded contacts only: no fallback endpoints, no
    cache, no beacon and nobody whom peers tell of."""

    target_connections: int = 0
    """Connections that the manager makes by itself and keeps up, about: 0 for none, at most 65536 and
    ``max_connections``. It looks for peers from ``start_listening()`` on, and goes on for as long as it runs."""

    identity_file: str | None = None
    """File that keeps this node's key pair, made when missing. ``None`` for a new identity each time."""

    cache_file: str | None = None
    """File that keeps contacts which worked. ``None`` for the usual place."""

    bootstrap_cache: bool = True
    """Whether contacts that worked are kept in a file at all. Only ``bootstrap()`` (or ``target_connections``) opens
    it."""

    # --- address translation ----------------------------------------------------------------------

    stun_servers: tuple[str, ...] = ()
    """``host:port`` of servers that tell this node its public address (RFC 8489). Peers do so too."""

    upnp: bool = True
    """Whether a home router may be asked to let peers in."""

    relay: bool = False
    """Whether this node carries connections of others that cannot reach each other. It cannot read them."""

    relay_connections: int = limits.RELAY_CONNECTIONS
    """How many at a time, with ``relay``: 1 to 65536."""

    relay_connections_per_peer: int = limits.RELAY_CONNECTIONS_PER_PEER
    """How many of one peer: 1 to 65536."""

    relay_bytes_per_second: int = limits.RELAY_BYTES_PER_SECOND
    """Bytes for each second that go each way on one of them: 0 for no limit, to 2**40. Nothing is lost: who sends more
    is held back."""

    # --- bounds -----------------------------------------------------------------------------------

    max_message_size: int = limits.MAX_MESSAGE_SIZE
    """Bytes in one message, sent or received: 1 to 2**31. A receiver may hold this much for each connection; a peer
    that sends more is cut off, so peers of one network should agree."""

    send_queue_bytes: int = limits.SEND_QUEUE_BYTES
    """Bytes that wait to be sent on one connection before ``send()`` refuses: 1 to 2**40. An empty queue takes one
    message of any size."""

    max_waiting_events: int = limits.MAX_WAITING_EVENTS
    """Events that wait for the user before reading pauses: 1 to 2**31."""

    max_waiting_bytes: int = limits.MAX_WAITING_BYTES
    """Bytes of messages that wait for the user before reading pauses: 1 to 2**40."""

    max_connections: int = limits.MAX_CONNECTIONS
    """Connections at a time: 1 to 65536. Each costs two threads and a descriptor."""

    max_connections_per_address: int = limits.MAX_CONNECTIONS_PER_ADDRESS
    """Connections with one IP address: 1 to 65536. Keeps one host from taking every place."""

    max_half_open: int = limits.MAX_HALF_OPEN
    """Accepted connections that have not proved themselves yet: 1 to 65536. Each costs a thread."""

    max_half_open_per_address: int = limits.MAX_HALF_OPEN_PER_ADDRESS
    """The same for one IP address: 1 to 65536."""

    max_dials: int = limits.MAX_DIALS
    """Outgoing attempts at a time: 1 to 65536; others wait. Each costs a thread and a descriptor."""

    # --- how fast, for each second; 0 for no limit --------------------------------------------------

    max_bytes_per_second: int = limits.MAX_BYTES_PER_SECOND
    """Bytes that one connection may bring: 0 to 2**40. Who passes one of these limits is reported and slowed down; who
    goes on all the same is cut off. What all connections of one address bring may be 16 times as much."""

    max_messages_per_second: int = limits.MAX_MESSAGES_PER_SECOND
    """Messages that one connection may bring: 0 to 2**40."""

    max_records_per_second: int = limits.MAX_RECORDS_PER_SECOND
    """Records to decrypt that one connection may bring: 0 to 2**40."""

    max_controls_per_second: int = limits.MAX_CONTROLS_PER_SECOND
    """Control frames that one connection may bring: 0 to 2**40."""

    max_handshakes_per_second: int = limits.MAX_HANDSHAKES_PER_SECOND
    """Connections that may be begun from one IPv4 address, or one /64 of IPv6: 0 to 2**40."""

    max_failures_per_second: int = limits.MAX_FAILURES_PER_SECOND
    """The same for those who cannot prove to be of our network: 0 to 2**40."""

    # --- times, in seconds ------------------------------------------------------------------------

    dial_timeout: float = limits.DIAL_TIMEOUT
    """For one attempt at one address, handshake included: 0.001 to 86400."""

    handshake_timeout: float = limits.HANDSHAKE_TIMEOUT
    """For an accepted connection to prove itself: 0.001 to 86400."""

    keepalive_interval: float = limits.KEEPALIVE_INTERVAL
    """After this long without sending, a sign of life goes out: 0.001 to 86400."""

    dead_after: float = limits.DEAD_AFTER
    """After this long without receiving a byte, a peer is lost: more than ``keepalive_interval``, up to 86400."""

    linger: float = limits.LINGER
    """For what is queued to be delivered when a connection or the manager ends in order: 0 to 86400."""

    bootstrap_backoff_min: float = limits.BOOTSTRAP_BACKOFF_MIN
    """Before the second round of ``bootstrap()``; doubled for each further one: 0.001 to 86400."""

    bootstrap_backoff_max: float = limits.BOOTSTRAP_BACKOFF_MAX
    """The longest pause between rounds: ``bootstrap_backoff_min`` to 86400."""

    def __post_init__(self) -> None:
        try:
            for key in _KEYS:
                object.__setattr__(self, key, checks.check(key, getattr(self, key)))
            checks.check_together(self._as_dict())
        except Invalid as invalid:
            raise ConfigError(str(invalid)) from None

    @classmethod
    def load(cls, path: str | os.PathLike[str] | None = None, *, app: str | None = None) -> Self:
        """Read a YAML file. File names in it are relative to its directory; ``~`` is the user's home.

        Args:
            path: the file, UTF-8, at most 1 MiB. ``None`` to look for one (`crust.settings.search`): what the
                environment variable ``CRUST_CONFIG`` names, then ``APP.crust.yaml`` beside the program, in the user's
                and in the system's configuration directory. The first that is there counts; if none is, every setting
                has its default.
            app: whose file is looked for; the program's own name if not given.

        Raises:
            ConfigError: it cannot be read, or something in it is wrong. The message names the file and the line, the
                key, what was given and what is allowed. The file is never changed.
        """
        found = search.find(path, app)
        if found is None:
            return cls()
        name = os.fspath(found if path is None else path)
        config = cls.parse(yaml_files.read_file(name), name)
        if config.network_key:
            _warn_if_others_may_read(name)
        directory = os.path.dirname(os.path.abspath(name))
        places: dict[str, Any] = {
            key: os.path.join(directory, os.path.expanduser(given))
            for key in ("identity_file", "cache_file", "blacklist_file")
            if (given := getattr(config, key)) is not None
        }
        for key, place in places.items():
            if os.path.realpath(place) == os.path.realpath(name):
                raise ConfigError(f"{name}: {key}: was {place}; allowed: another file than the configuration itself")
        try:
            return dataclasses.replace(config, **places)
        except ConfigError as error:  # two names of one file
            raise ConfigError(f"{name}: {error}") from None

    @classmethod
    def parse(cls, text: str, name: str = "<string>") -> Self:
        """Read YAML text.

        Args:
            text: keys and values; what is not there has its default.
            name: what errors call the text.

        Raises:
            ConfigError: something in it is wrong; as for `load`. No other error escapes, whatever the text.
        """
        settings = yaml_files.parse(text, name)
        for key, setting in settings.items():
            if key not in _KEYS:
                line = setting.line
                raise ConfigError(f"{name}, line {line}: there is no setting {checks.show(key)}{_nearest(key)}")
        values: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(cls)}
        try:
            values.update({key: checks.check(key, setting.value) for key, setting in settings.items()})
            checks.check_together(values)
        except Invalid as invalid:
            at_fault = settings.get(invalid.key)  # none where a default contradicts what was set
            where = f"{name}, line {at_fault.line}" if at_fault else name
            raise ConfigError(f"{where}: {invalid}") from None
        return cls(**values)

    def replace(self, **changes: Any) -> Self:
        """The same settings with some changed.

        Raises:
            ConfigError: there is no such setting, or it is wrong.
        """
        for key in changes:
            if key not in _KEYS:
                raise ConfigError(f"there is no setting {checks.show(key)}{_nearest(key)}")
        return dataclasses.replace(self, **changes)

    def dump(self, *, defaults: bool = False) -> str:
        """YAML that `parse` reads back to an equal `Config`. It holds the network key.

        Args:
            defaults: whether settings that have their default are written too.
        """
        values = self._as_dict()
        if not defaults:
            values = {f.name: values[f.name] for f in dataclasses.fields(self) if values[f.name] != f.default}
        return yaml_files.dump({key: _plain(value) for key, value in values.items()})

    def write(self, path: str | os.PathLike[str], overwrite: bool = False) -> None:
        """Write what `dump` gives, in one step: readers see the old file or the new one, whole.

        A file with a network key is readable by its owner only (POSIX).

        Args:
            path: the file.
            overwrite: whether an existing file is replaced. One that `load` does not understand never is, so that
                a typing error costs nobody their settings.

        Raises:
            ConfigError: the file exists and ``overwrite`` is false, is not understood, or cannot be written.
        """
        name = os.fspath(path)
        try:
            mode = 0o666
            if os.path.exists(path):
                if not overwrite:
                    raise FileExistsError
                type(self).load(path)
                mode = stat.S_IMODE(os.stat(path).st_mode)
            text = self.dump()
            files.write_whole(path, text, mode=0o600 if self.network_key else mode, replace=overwrite)
        except FileExistsError:
            raise ConfigError(
                f"{name}: exists already and is left as it is; ask for overwriting to replace it"
            ) from None
        except ConfigError as error:
            raise ConfigError(f"{error} (so the file is left as it is: mend it or move it away)") from error
        except (OSError, ValueError) as error:
            raise ConfigError(f"{name}: cannot be written: {getattr(error, 'strerror', None) or error}") from error

    def _as_dict(self) -> dict[str, Any]:
        return {key: getattr(self, key) for key in _KEYS}


_KEYS: Final = tuple(f.name for f in dataclasses.fields(Config))


def _warn_if_others_may_read(name: str) -> None:
    try:
        mode = os.stat(name).st_mode
    except OSError:  # it has gone since it was read
        return
    if files.others_may_read(mode):
        log.warning("%s holds a network_key, and other users may read or write it; try: chmod 600 %s", name, name)


def _nearest(key: str) -> str:
    word = key.lower().replace("-", "_")[:100]
    close = difflib.get_close_matches(word, _KEYS, n=3, cutoff=0.5)
    close.sort(key=lambda known: sorted(known) != sorted(word))  # swapped letters are the likeliest mistake
    return f"; did you mean {close[0]}?" if close else "; see the documentation of crust.Config for all of them"


def _plain(value: Any) -> Any:
    """A value as YAML has it."""
    if isinstance(value, tuple):
        return [str(item) for item in value]
    return f"hex:{value.hex()}" if isinstance(value, bytes) else value
