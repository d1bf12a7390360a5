"""`crust.nat.pinhole_child`: what is asked of an IPv6 firewall, with routers of many kinds in place of HTTP."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.nat.pinhole_child import SERVICE, Failure, fields, over_http, serve
from tests.nat.firewall_server import FIREWALL, FIREWALL_DESCRIPTION, FirewallTable

US = "2a00::5"
URL = "http://[2a00::1]:5000/rootDesc.xml"
TCP_HOLE, UDP_HOLE = (US, 5483, 6), (US, 5484, 17)


class FakeFirewall(FirewallTable):
    """A router as HTTP shows it.

    Attributes:
        description: what is fetched first.
        said: in place of answers to actions.
        posted: where actions were sent to, and which.
    """

    def __init__(self, **features: Any) -> None:
        super().__init__()
        self.description = FIREWALL_DESCRIPTION.replace("CONTROL", "/ctl/fw").encode()
        self.said: dict[str, bytes] = {}
        self.posted: list[tuple[str, str]] = []
        for name, value in features.items():
            assert hasattr(self, name)
            setattr(self, name, value)

    def exchange(self, path: str, body: bytes | None, headers: dict[str, str]) -> bytes:
        if body is None:
            assert path == "/rootDesc.xml"
            return self.description
        action = re.fullmatch(f'"{FIREWALL}#([A-Za-z]+)"', headers["SOAPAction"])
        assert action is not None
        self.posted.append((path, action[1]))
        said = dict(fields(body))
        assert action[1] in said
        return self.said[action[1]] if action[1] in self.said else self.act(action[1], said, US)[1]


def ask(router: FakeFirewall, **changes: Any) -> dict[str, Any]:
    wanted = [["TCP", 5483, -1], ["UDP", 5484, -1]]
    request = {"url": URL, "local": US, "lease": 3600, "map": wanted, "unmap": [], **changes}
    return serve(request, router.exchange)


def test_holes_are_opened_for_us_only() -> None:
    router = FakeFirewall()
    assert ask(router) == {
        "external": None,
        "mapped": [["TCP", 5483, 1, 3600], ["UDP", 5484, 2, 3600]],
        "failed": [],
        "left": [],
    }
    assert router.holes == {1: (TCP_HOLE, 3600), 2: (UDP_HOLE, 3600)}
    assert router.posted == [("/ctl/fw", action) for action in ("GetFirewallStatus", "AddPinhole", "AddPinhole")]


def test_a_hole_that_is_there_gets_a_new_lease_and_keeps_its_number() -> None:
    router = FakeFirewall(holes={1: (TCP_HOLE, 17)})
    assert ask(router, map=[["TCP", 5483, 1]])["mapped"] == [["TCP", 5483, 1, 3600]]
    assert router.holes == {1: (TCP_HOLE, 3600)}


def test_a_router_that_has_forgotten_opens_anew() -> None:
    router = FakeFirewall(next=50)
    assert ask(router, map=[["TCP", 5483, 1]])["mapped"] == [["TCP", 5483, 50, 3600]]


def test_a_number_that_another_program_has_by_now_is_left_to_it() -> None:
    """After a restart of the router numbers begin anew: ours may belong to another hole of the same machine."""
    theirs = ((US, 9000, 6), 100)
    router = FakeFirewall(holes={1: theirs}, next=2)
    assert ask(router, map=[["TCP", 5483, 1]])["mapped"] == [["TCP", 5483, 2, 3600]]
    assert router.holes[1] == theirs


def test_a_router_that_takes_it_for_a_second_hole_renews_by_number() -> None:
    router = FakeFirewall(holes={1: (TCP_HOLE, 17)}, knows_its_own=False, most=1)
    assert ask(router, map=[["TCP", 5483, 1]])["mapped"] == [["TCP", 5483, 1, 3600]]
    assert router.holes == {1: (TCP_HOLE, 3600)}
    assert router.posted[-1][1] == "UpdatePinhole"


def test_a_router_without_room_says_so() -> None:
    router = FakeFirewall(most=1)
    answer = ask(router)
    assert answer["mapped"] == [["TCP", 5483, 1, 3600]]
    assert answer["failed"] == [
        ["UDP", 5484, "has no room for another hole in its IPv6 firewall: remove some in its settings"]
    ]


@pytest.mark.parametrize(
    ("features", "said"),
    [
        ({"enabled": "0"}, "says that its IPv6 firewall is off: nothing is in the way there"),
        ({"allowed": "0"}, "does not allow holes in its IPv6 firewall"),
        ({"allowed": "no idea"}, "does not allow holes in its IPv6 firewall"),
        ({"error": (606, "Action not authorized")}, "does not allow us to open its IPv6 firewall"),
        ({"error": (501, "Action\x1bFailed")}, "did not open its IPv6 firewall: "),
        ({"error": (501, "")}, "did not open its IPv6 firewall: error 501"),
        ({"error": (0, "x" * 5000)}, "did not open its IPv6 firewall: " + "x" * 100),
        ({"said": {"GetFirewallStatus": b"<a></a>"}}, "it says neither yes nor no"),
        (
            {"said": {"GetFirewallStatus": b"<GetFirewallStatusResponse/>"}},
            "does not tell how its IPv6 firewall is set",
        ),
        ({"said": {"GetFirewallStatus": b""}}, "XML cannot be read"),
        ({"said": {"AddPinhole": b"<AddPinholeResponse/>"}}, "but not where"),
        ({"said": {"AddPinhole": b"<AddPinholeResponse><UniqueID>70000</UniqueID></AddPinholeResponse>"}}, "not where"),
        ({"said": {"AddPinhole": b"<AddPinholeResponse><UniqueID>-1</UniqueID></AddPinholeResponse>"}}, "not where"),
    ],
)
def test_what_does_not_work_is_said(features: dict[str, Any], said: str) -> None:
    answer = ask(FakeFirewall(**features))
    assert answer["mapped"] == []
    assert [row[:2] for row in answer["failed"]] == [["TCP", 5483], ["UDP", 5484]]
    for row in answer["failed"]:
        assert said in row[2]
        assert len(row[2]) < 200


def test_ours_are_closed() -> None:
    router = FakeFirewall(holes={1: (TCP_HOLE, 9), 2: (UDP_HOLE, 9)})
    answer = ask(router, map=[], unmap=[["TCP", 5483, 1], ["UDP", 5484, 2], ["TCP", 7, 7]])
    assert (answer["failed"], answer["left"]) == ([], [])
    assert router.holes == {}
    assert "GetFirewallStatus" not in [action for _, action in router.posted]


def test_a_hole_that_the_router_keeps_is_told_of() -> None:
    router = FakeFirewall(holes={1: (TCP_HOLE, 9)}, error=(606, ""))
    answer = ask(router, map=[], unmap=[["TCP", 5483, 1]])
    assert answer["left"][0][:2] == ["TCP", 5483]
    assert answer["left"][0][2].startswith("did not close its IPv6 firewall again: does not allow us")


@pytest.mark.parametrize(
    ("control", "path"),
    [
        ("/ctl/fw", "/ctl/fw"),
        ("ctl?a=b", "/ctl?a=b"),
        ("http://[2a00:bad::bad]:80/ctl", "/ctl"),
        ("http://[2a00:bad::bad]", "/"),
        ("//a.example/x", "/x"),
    ],
)
def test_the_device_that_answered_is_asked_whatever_it_names(control: str, path: str) -> None:
    router = FakeFirewall(description=FIREWALL_DESCRIPTION.replace("CONTROL", control).encode())
    assert ask(router)["mapped"]
    assert {where for where, _ in router.posted} == {path}


def test_a_description_may_have_a_base() -> None:
    description = FIREWALL_DESCRIPTION.replace("CONTROL", "ctl").replace(
        "<device>", "<URLBase>/a/b</URLBase><device>", 1
    )
    router = FakeFirewall(description=description.encode())
    assert ask(router)["mapped"]
    assert router.posted[0][0] == "/a/ctl"


BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">'
    + b"".join(b'<!ENTITY %c "%s">' % (name, b"&%c;" % (name - 1) * 10) for name in b"bcdefghi")
    + b"]><root>&i;</root>"
)


@pytest.mark.parametrize(
    ("description", "said"),
    [
        (b"", "XML cannot be read"),
        (b"\xff\xfe", "XML cannot be read"),
        (b"<root/>", "nothing that opens an IPv6 firewall"),
        (FIREWALL_DESCRIPTION.replace(SERVICE, "urn:x:service:Other:").encode(), "nothing that opens"),
        (FIREWALL_DESCRIPTION.replace(FIREWALL, FIREWALL + '"#x').encode(), "nothing that opens"),
        (FIREWALL_DESCRIPTION.replace("CONTROL", "").encode(), "nothing that opens"),
        (FIREWALL_DESCRIPTION.replace("CONTROL", "/a\r\nX: y").encode(), "a URL in it is none"),
        (FIREWALL_DESCRIPTION.replace("CONTROL", "http://[").encode(), "a URL in it is none"),
        (FIREWALL_DESCRIPTION.replace("CONTROL", "/" + "x" * 5000).encode(), "a URL in it is none"),
        (BOMB, "DOCTYPE"),
        (b'<!DOCTYPE a SYSTEM "http://[2a00:bad::bad]/"><a/>', "DOCTYPE"),
        (b"<a>" * 200_000, "too deep"),
        (b"<?xml version='1.0' encoding='zlib'?><a/>", "XML cannot be read"),
        (b"<?xml version='1.0' encoding='utf-7'?><a/>", "XML cannot be read"),
    ],
)
def test_descriptions_that_lead_nowhere(description: bytes, said: str) -> None:
    router = FakeFirewall(description=description)
    answer = ask(router)
    assert said in answer["error"]
    assert answer["error"].isprintable()
    assert router.posted == []


@given(st.binary(max_size=200) | st.text(alphabet="<>/&;!?[]ax='\" ", max_size=60).map(str.encode))
def test_nothing_but_a_failure_escapes_from_xml(document: bytes) -> None:
    try:
        fields(document)
    except Failure:
        pass


@given(st.text(alphabet="/:[]%@?#.ahttp0 \n", max_size=30))
def test_nothing_but_an_answer_comes_of_any_url_of_control(control: str) -> None:
    description = FIREWALL_DESCRIPTION.replace("CONTROL", f"<![CDATA[{control}]]>")
    answer = ask(FakeFirewall(description=description.encode()))
    assert "error" in answer or len(answer["mapped"]) == 2


def test_nobody_there_is_a_failure() -> None:
    with pytest.raises(Failure, match="cannot be spoken with"):
        over_http("http://[::1]:9/x", "::1")("/x", None, {})
