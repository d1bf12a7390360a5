"""`crust.cli.nat_view`: what is good is green, what is to be done is not to be overlooked."""

from crust.cli.nat_view import status_lines
from crust.endpoint import Endpoint
from crust.nat.behaviour import UNKNOWN
from crust.nat.nat_report import NatReport
from crust.nat.nat_status import NatStatus

HERE = Endpoint.tcp("192.0.2.7:5483")


def test_every_line_is_there_and_has_its_style() -> None:
    status = NatStatus(own=(HERE,), nat=NatReport(UNKNOWN))
    lines = status_lines(status)
    assert [line.text for line in lines] == status.lines()
    styles = {line.text: line.style for line in lines}
    assert styles["This machine:"] == "strong"
    assert styles[f"  {HERE}"] is None
    assert styles["What to do:"] == "strong"
    advice = next(line for line in lines if "stun_servers" in line.text)
    assert advice.style == "warn"
    assert lines[0].style == "warn"


def test_where_nothing_is_to_be_done_it_is_good() -> None:
    lines = status_lines(NatStatus(own=(HERE,), verified={HERE: True}))
    assert lines[0].style == "good"
    assert not [line for line in lines if line.style == "warn"]
