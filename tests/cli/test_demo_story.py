"""How the demo tells what happens."""

import io
import json
import sys

import pytest

from crust.cli.demo_story import Story


def tell(story: Story, problems: list[str]) -> None:
    story.step("start", "Two peers")
    story.say("a sentence")
    story.speak("Ada", "Ben", "good \x1b[2J morning")
    story.done("They listen.", peers=2)
    story.end(problems)


def test_in_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    tell(Story(["Ada", "Ben"]), [])
    output = capsys.readouterr()
    assert "1. Two peers\n   a sentence\n   Ada hears Ben: good \\x1b[2J morning\n   They listen." in output.out
    assert "All of it went as it should" in output.out
    assert output.err == ""


def test_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    tell(Story(["Ada", "Ben"], as_json=True), ["it rains"])
    output = capsys.readouterr()
    document = json.loads(output.out)
    assert document["ok"] is False
    assert document["problems"] == ["it rains"]
    assert document["steps"][0].keys() == {"step", "seconds", "peers"}
    assert output.err == "error: it rains\n"


def test_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    tell(Story(["Ada", "Ben"], quiet=True), ["it rains"])
    assert capsys.readouterr() == ("", "error: it rains\n")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_with_colours_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    Story(["Ada", "Ben"]).speak("Ada", "Ben", "good \x1b[2J morning")
    assert "\x1b[36mAda" in terminal.getvalue()
    assert "good \\x1b[2J morning" in terminal.getvalue()
