"""What ``import crust`` gives is the interface, and nothing else is."""

import inspect
import subprocess
import sys

import crust
from crust import errors

NAMES = {
    "Config",
    "ConnectionManager",
    "Endpoint",
    "Event",
    "Identity",
    "PeerId",
    "Port",
    "Protocol",
    "channel",
}
ERRORS = {
    "ConfigError",
    "ConnectionLost",
    "CrustError",
    "DialFailed",
    "EndpointError",
    "HandshakeFailed",
    "IdentityError",
    "ListenFailed",
    "LocalError",
    "Malformed",
    "ManagerStopped",
    "MessageTooLarge",
    "NotConnected",
    "PeerMisbehaved",
    "RemoteError",
    "SendQueueFull",
    "TimedOut",
    "TransportUnavailable",
}


def test_the_names_are_these() -> None:
    assert set(crust.__all__) == NAMES | ERRORS
    assert len(crust.__all__) == len(set(crust.__all__))
    assert all(hasattr(crust, name) for name in crust.__all__)


def test_every_error_is_among_them() -> None:
    assert {name for name, value in vars(errors).items() if inspect.isclass(value)} == ERRORS


def test_no_other_public_name_but_modules() -> None:
    others = {name for name in vars(crust) if not name.startswith("_")} - set(crust.__all__)
    assert [name for name in others if not inspect.ismodule(getattr(crust, name))] == []


def test_everything_is_documented() -> None:
    for name in crust.__all__:
        assert inspect.getdoc(getattr(crust, name)), name


def test_channel_is_the_function() -> None:
    events = crust.channel(maxsize=2)
    events.put(1)
    assert events.get() == 1


def test_what_is_slow_to_import_is_imported_when_it_is_asked_for() -> None:
    script = (
        "import sys, crust\n"
        "assert 'crust.connection_manager' not in sys.modules\n"
        "assert set(crust.__all__) <= set(dir(crust))\n"
        "from crust import ConnectionManager\n"
        "assert crust.ConnectionManager is ConnectionManager is vars(crust)['ConnectionManager']\n"
        "assert not hasattr(crust, 'Connectionmanager')"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)


def test_importing_starts_nothing_and_loads_nothing_heavy() -> None:
    script = (
        "import sys, threading, crust\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
        "heavy = {'asyncio', 'multiprocessing', 'rich', 'prompt_toolkit', 'matplotlib', 'argparse'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)
