"""The processes of the demo: what is not as it should be is said, and none is ever left."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from crust.cli.demo_crew import Crew, DemoFailed, Member, Report


def unheard(member: Member, report: Report) -> None:
    """Nobody listens."""


@pytest.fixture
def crew(tmp_path: Path) -> Iterator[Crew]:
    with Crew(30.0, unheard) as crew:
        crew.start(["Ada", "Ben"], tmp_path, "tcp")
        yield crew
    assert all(member.process.poll() is not None for member in crew.members)


def test_all_of_them_are_ready_and_listen_when_told(crew: Crew) -> None:
    assert [member.name for member in crew.members] == ["Ada", "Ben"]
    assert len({member.id for member in crew.members}) == 2
    assert [member.place for member in crew.members] == ["", ""]
    for member in crew.members:
        member.tell("listen")
    assert crew.until("listened", lambda: [member.name for member in crew.members if not member.place])
    assert all(member.place.startswith("127.0.0.1:") for member in crew.members)


@pytest.mark.skipif(not hasattr(os, "getsid"), reason="no sessions there")
def test_they_hear_no_control_c(crew: Crew) -> None:
    """Not even before they can say that they ignore it."""
    assert os.getsid(0) not in [os.getsid(member.process.pid) for member in crew.members]


def test_patience_is_shorter_than_the_time_of_the_demo(crew: Crew) -> None:
    assert not crew.until("waited", lambda: ["something"], patience=0.0)


def test_reports_are_kept_and_heard(tmp_path: Path) -> None:
    heard: list[str] = []
    with Crew(30.0, lambda member, report: heard.append(report["is"])) as crew:
        crew.start(["Ada"], tmp_path, "tcp")
        (ada,) = crew.members
        ada.tell("count")
        crew.until("counted", lambda: [] if ada.reports("connections") else ["Ada"])
    assert heard == ["ready", "connections"]


def test_an_end_that_was_not_asked_for_is_an_error(crew: Crew) -> None:
    ada = crew.members[0]
    ada.process.kill()
    with pytest.raises(DemoFailed, match=r"Ada ended by itself, exit code -?\d+"):
        crew.until("waited", lambda: ["something"])


def test_an_end_that_was_asked_for_is_none(crew: Crew) -> None:
    ada = crew.members[0]
    ada.tell("stop")
    assert crew.wait_for_end(ada) == 0
    with pytest.raises(DemoFailed, match="Ada ended by itself"):
        ada.tell("count")


def test_what_does_not_come_in_time_is_named(tmp_path: Path) -> None:
    with Crew(0.0, unheard) as crew:
        with pytest.raises(DemoFailed, match=r"started: missing Ada, after .* in all"):
            crew.start(["Ada"], tmp_path, "tcp")
    assert crew.members[0].process.poll() is not None


def test_it_works_from_a_folder_with_traps_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "crust").mkdir()
    (tmp_path / "crust" / "__init__.py").write_text("raise SystemExit(99)")
    (tmp_path / "queue.py").write_text("raise SystemExit(99)")
    (tmp_path / "into").mkdir()
    monkeypatch.chdir(tmp_path)
    with Crew(30.0, unheard) as crew:
        crew.start(["Ada"], tmp_path / "into", "tcp")


@pytest.mark.skipif(os.name == "nt", reason="no such signal there")
def test_one_that_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import signal

    monkeypatch.setattr("crust.cli.demo_crew.GRACE", 0.2)
    with Crew(30.0, unheard) as crew:
        crew.start(["Ada"], tmp_path, "tcp")
        crew.members[0].process.send_signal(signal.SIGSTOP)
    assert crew.members[0].process.returncode == -signal.SIGKILL
