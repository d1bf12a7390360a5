"""What holds for every test: no leaked threads or descriptors, Hypothesis profiles, and no skips on CI."""

import gc
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Generator, Iterator
from multiprocessing import resource_tracker
from pathlib import Path

import hypothesis
import pytest

# A loaded machine may take a moment to run a thread to its end; a leaked thread never gets there.
GRACE = 20.0  # seconds
_DESCRIPTORS = Path("/proc/self/fd")

# Whoever runs the tests may have settings of their own, which must not count here, nor in processes that tests start.
os.environ["CRUST_CONFIG"] = os.devnull

# No deadline: timings of single examples say nothing on a shared machine; pytest-timeout guards against hanging.
_ANY_TIME = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("fast", max_examples=100, **_ANY_TIME)
hypothesis.settings.register_profile("deep", max_examples=5_000, **_ANY_TIME)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))

# Inherited by child processes: no test speaks to the LAN or touches the contacts and settings of who runs it.
os.environ["CRUST_ISOLATED"] = "1"


def pytest_configure() -> None:
    """Heed signals: who runs this in the background may have made it ignore some, and what it starts inherits that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def _crust_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("crust-")}


def _descriptors() -> dict[int, str]:
    """Open descriptors and what they are; empty where the system does not tell."""
    found: dict[int, str] = {}
    if not _DESCRIPTORS.is_dir():
        return found
    # One per process, opened by multiprocessing at its first use and kept.
    tracker = getattr(resource_tracker._resource_tracker, "_fd", None)
    for name in os.listdir(_DESCRIPTORS):
        try:
            target = os.readlink(_DESCRIPTORS / name)
        except OSError:  # the one that listed the directory
            continue
        if int(name) != tracker and not target.startswith("/dev/"):
            found[int(name)] = target
    return found


def _stack(thread: threading.Thread) -> str:
    frame = sys._current_frames().get(thread.ident or 0)
    return "".join(traceback.format_stack(frame)) if frame else "    (ended just now)\n"


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    """Fail a test that leaves a ``crust-...`` thread, a socket or another descriptor behind."""
    threads_before, descriptors_before = _crust_threads(), _descriptors()
    yield
    deadline = time.monotonic() + GRACE
    for thread in _crust_threads() - threads_before:
        thread.join(max(0.0, deadline - time.monotonic()))
    left = _crust_threads() - threads_before
    if left:
        stacks = "\n".join(f"  {thread.name}\n{_stack(thread)}" for thread in sorted(left, key=lambda t: t.name))
        pytest.fail(f"{len(left)} thread(s) still run after the test:\n{stacks}", pytrace=False)
    if _descriptors().items() - descriptors_before.items():
        gc.collect()  # what sits in a reference cycle is not leaked; an unclosed socket in one warns, which is an error
    leaked = dict(_descriptors().items() - descriptors_before.items())
    if leaked:
        listing = "\n".join(f"  {number} -> {target}" for number, target in sorted(leaked.items()))
        pytest.fail(f"{len(leaked)} descriptor(s) still open after the test:\n{listing}", pytrace=False)


@pytest.fixture(autouse=True)
def log_as_it_was() -> Iterator[None]:
    """What ``main()`` of the command sets up for a whole process must not silence the log of later tests."""
    logger = logging.getLogger("crust")
    handlers, level, propagate = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.propagate = handlers, propagate
    logger.setLevel(level)


def _fail_skips(report: pytest.TestReport | pytest.CollectReport) -> None:
    """On CI nothing may be skipped: what a test needs has to be installed by ``.ci/run``."""
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which is a failure where CI is set: {report.longrepr}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _fail_skips(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _fail_skips(report)
    return report


# Whole programs, whole networks and minutes of virtual time: together they take longer than all the others.
_SLOW_FILES = (
    "tests/cli/test_bench.py",
    "tests/cli/test_bench_report.py",
    "tests/cli/test_demo.py",
    "tests/cli/test_demo_crew.py",
    "tests/cli/test_demo_worker.py",
    "tests/cli/test_peer.py",
    "tests/cli/test_peer_on_terminal.py",
    "tests/cli/test_transfer_receive.py",
    "tests/cli/test_transfer_send.py",
    "tests/discovery/test_cache_killed.py",
    "tests/discovery/test_gossip_simulation.py",
    "tests/dissector/",
    "tests/interop/test_coturn.py",
    "tests/interop/test_libutp.py",
    "tests/manager/test_finding_many.py",
    "tests/manager/test_many_peers.py",
    "tests/manager/test_utp_mesh.py",
    "tests/nat/test_upnp.py",
    "tests/transport/utp/simulation/test_churn.py",
    "tests/transport/utp/simulation/test_mesh.py",
    "tests/transport/utp/simulation/test_wraps.py",
    "tests/transport/utp/test_ledbat.py",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of a slow file, except for those that are longer still."""
    for item in items:
        if item.nodeid.startswith(_SLOW_FILES) and item.get_closest_marker("long") is None:
            item.add_marker(pytest.mark.slow)
