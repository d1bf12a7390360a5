"""The guards of ``conftest.py`` catch what they are there for."""

import signal
from pathlib import Path

import pytest

from tests import conftest

CONFTEST = Path(__file__).with_name("conftest.py").read_text("utf-8").replace("GRACE = 20.0", "GRACE = 0.5")


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Run a test file under our conftest in a process of its own."""
    monkeypatch.delenv("CI", raising=False)

    def _run(source: str) -> pytest.RunResult:
        pytester.makeconftest(CONFTEST)
        pytester.makepyfile(source)
        return pytester.runpytest_subprocess()

    return _run


@pytest.mark.slow
def test_what_a_test_leaves_behind_is_an_error_that_names_it(run) -> None:
    result = run("""
        import socket, threading
        kept = []

        def wait_for_ever():
            threading.Event().wait()

        def test_leaks_a_thread():
            threading.Thread(target=wait_for_ever, name="crust-reader x", daemon=True).start()

        def test_leaves_a_thread_that_ends_soon():
            threading.Thread(target=threading.Event().wait, args=(0.01,), name="crust-y").start()

        def test_leaks_a_socket():
            kept.append(socket.socket())

        def test_leaves_nothing():
            kept.pop().close()
    """)
    sees_descriptors = Path("/proc/self/fd").is_dir()  # not every system tells which are open
    result.assert_outcomes(passed=4, errors=1 + sees_descriptors)
    result.stdout.fnmatch_lines(["*ERROR at teardown of test_leaks_a_thread*", "*1 thread(s) still run*"])
    result.stdout.fnmatch_lines(["*crust-reader x", "*in wait_for_ever*"])
    if sees_descriptors:
        result.stdout.fnmatch_lines(["*ERROR at teardown of test_leaks_a_socket*", "*1 descriptor(s)*", "*socket:*"])


SKIPPING = """
    import pytest

    def test_inside():
        pytest.skip("no such thing")

    @pytest.mark.skipif(True, reason="no such thing")
    def test_marked(): pass

    @pytest.mark.xfail(reason="known", strict=True)
    def test_expected_to_fail(): assert False
"""


@pytest.mark.slow
def test_a_skip_is_a_failure_on_ci_and_nowhere_else(run, monkeypatch: pytest.MonkeyPatch) -> None:
    run(SKIPPING).assert_outcomes(skipped=2, xfailed=1)
    monkeypatch.setenv("CI", "true")
    result = run(SKIPPING)
    result.assert_outcomes(failed=1, errors=1, xfailed=1)
    result.stdout.fnmatch_lines(["*a failure where CI is set*no such thing*"])


@pytest.mark.slow
def test_a_skipped_file_is_an_error_on_ci(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    run("import pytest; pytest.importorskip('no_such_thing')").assert_outcomes(errors=1)


def test_signals_that_the_shell_made_us_ignore_are_heeded() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        conftest.pytest_configure()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
