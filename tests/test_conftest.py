"""The guards of ``conftest.py`` catch what they are there for."""

from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py").read_text("utf-8").replace("GRACE = 5.0", "GRACE = 0.1")


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Run a test file under our conftest in a process of its own."""
    monkeypatch.delenv("CI", raising=False)

    def _run(source: str) -> pytest.RunResult:
        pytester.makeconftest(CONFTEST)
        pytester.makepyfile(source)
        return pytester.runpytest_subprocess()

    return _run


def test_a_leaked_thread_is_an_error_that_shows_where_it_is(run) -> None:
    result = run("""
        import threading
        def wait_for_ever(): threading.Event().wait()
        def test_it(): threading.Thread(target=wait_for_ever, name="crust-reader x", daemon=True).start()
    """)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*1 thread(s) still run*", "*crust-reader x", "*in wait_for_ever*"])


def test_a_thread_that_is_about_to_end_is_waited_for(run) -> None:
    run("""
        import threading
        def test_it(): threading.Thread(target=threading.Event().wait, args=(0.01,), name="crust-x").start()
    """).assert_outcomes(passed=1)


def test_a_leaked_socket_is_an_error(run) -> None:
    if not Path("/proc/self/fd").is_dir():
        return  # this system does not tell which descriptors are open
    result = run("""
        import socket
        kept = []
        def test_it(): kept.append(socket.socket())
        def test_next(): kept.pop().close()
    """)
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*1 descriptor(s) still open*", "*socket:*"])


@pytest.mark.parametrize(
    "source",
    [
        "import pytest\ndef test_it(): pytest.skip('no such thing')",
        "import pytest\n@pytest.mark.skipif(True, reason='no such thing')\ndef test_it(): pass",
        "import pytest\npytest.importorskip('no_such_thing')\ndef test_it(): pass",
    ],
    ids=["inside", "marked", "whole file"],
)
def test_a_skip_is_a_failure_on_ci_and_nowhere_else(run, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    assert run(source).ret in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    monkeypatch.setenv("CI", "true")
    result = run(source)
    assert result.ret not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    result.stdout.fnmatch_lines(["*a failure where CI is set*"])
