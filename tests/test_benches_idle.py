"""`benches.utp_idle`: a tiny real run."""

import pytest

from benches import utp_idle


def test_idle_connections_are_held(capsys: pytest.CaptureFixture[str]) -> None:
    assert utp_idle.main(["--count", "3", "--idle", "0.01"]) == 0
    text = capsys.readouterr().out
    assert "one socket" in text
    assert "lost" in text
    result = utp_idle.measure(2, 0.01)
    assert result["connections"] == 2
    assert result["lost"] == 0
    assert result["threads"] == 2, "the socket's and the one that is told what to do"


def test_there_must_be_connections() -> None:
    with pytest.raises(SystemExit):
        utp_idle.main(["--count", "0"])
