"""`crust.nat.routes`: routers from the tables of several systems."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.nat import routes
from crust.nat.routes import Route, default_routes, parse_linux_ipv4, parse_linux_ipv6, parse_printed

# The numbers are those of the machine's memory: 192.168.1.1 is 0101A8C0 on a little-endian one.
GATEWAY = {"little": "0101A8C0", "big": "C0A80101"}[sys.byteorder]
LINUX4 = f"""Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
wlan0\t00000000\t{GATEWAY}\t0003\t0\t0\t600\t00000000\t0\t0\t0
eth0\t00000000\t{GATEWAY}\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0
tun0\t00000000\t00000000\t0001\t0\t0\t50\t00000080\t0\t0\t0
ppp0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0
down0\t00000000\t{GATEWAY}\t0002\t0\t0\t0\t00000000\t0\t0\t0
"""
ZERO = "0" * 32
LINUX6 = f"""{ZERO} 00 {ZERO} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0
{ZERO} 00 {ZERO} 00 2a000000000000000000000000000001 00000064 00000001 00000000 00000003    wlan0
2a000000000000000000000000000000 40 {ZERO} 00 {ZERO} 00000100 00000001 00000000 00000001     eth0
{ZERO} 00 {ZERO} 00 {ZERO} ffffffff 00000001 00000000 00200200       lo
"""
MACOS = """Routing tables

Internet:
Destination        Gateway            Flags               Netif Expire
default            192.168.1.1        UGScg                 en0
default            link#15            UCSIg             bridge100
127                127.0.0.1          UCS                   lo0
192.168.1          link#6             UCS                   en0      !

Internet6:
Destination                             Gateway                                 Flags               Netif Expire
default                                 fe80::1%en0                             UGcg                  en0
default                                 fe80::%utun0                            UGcIg               utun0
::1                                     ::1                                     UHL                   lo0
"""
WINDOWS = """===========================================================================
IPv4-Routentabelle
===========================================================================
Aktive Routen:
     Netzwerkziel    Netzwerkmaske          Gateway    Schnittstelle Metrik
          0.0.0.0          0.0.0.0      192.168.1.1      192.168.1.2     25
          0.0.0.0          0.0.0.0     192.168.7.1      192.168.7.2     10
          0.0.0.0          0.0.0.0   Auf Verbindung        10.8.0.2     5
        127.0.0.0        255.0.0.0   Auf Verbindung         127.0.0.1    331
IPv6-Routentabelle
 If Metrik Netzwerkziel             Gateway
 12    281 ::/0                     fe80::1
  1    331 ::1/128                  Auf Verbindung
"""


def test_linux() -> None:
    assert parse_linux_ipv4(LINUX4) == [Route("eth0", "192.168.1.1"), Route("wlan0", "192.168.1.1")]
    assert parse_linux_ipv6(LINUX6) == [Route("wlan0", "2a00::1"), Route("eth0", "fe80::1%eth0")]


def test_macos() -> None:
    assert parse_printed(MACOS)[:2] == [Route("en0", "192.168.1.1"), Route("en0", "fe80::1%en0")]
    assert {route.interface for route in parse_printed(MACOS)} == {"en0", "utun0"}


def test_windows_in_any_language() -> None:
    assert parse_printed(WINDOWS) == [
        Route("192.168.7.2", "192.168.7.1"),
        Route("192.168.1.2", "192.168.1.1"),
        Route("12", "fe80::1%12"),
    ]


@pytest.mark.parametrize("parse", [parse_linux_ipv4, parse_linux_ipv6, parse_printed])
@given(text=st.text(alphabet=st.sampled_from(" \n\tdefault0123456789abcdefg.:/%"), max_size=300))
def test_lines_that_are_not_understood_are_passed_over(parse: Any, text: str) -> None:
    parse(text)


@pytest.mark.parametrize(("platform", "command"), [("darwin", ["netstat", "-rn"]), ("win32", ["route", "print"])])
def test_other_systems_are_asked(monkeypatch: pytest.MonkeyPatch, platform: str, command: list[str]) -> None:
    def run(asked: list[str], **_: Any) -> subprocess.CompletedProcess[bytes]:
        assert asked == command
        return subprocess.CompletedProcess(asked, 0, MACOS.encode() if platform == "darwin" else WINDOWS.encode())

    monkeypatch.setattr(subprocess, "run", run)
    assert default_routes(platform)


@pytest.mark.parametrize("error", [FileNotFoundError(), subprocess.TimeoutExpired("x", 1), PermissionError()])
def test_a_system_that_does_not_tell_has_none(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def run(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(subprocess, "run", run)
    assert default_routes("darwin") == []


def test_a_version_of_ip_that_is_switched_off_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "route").write_text(LINUX4)
    monkeypatch.setattr(routes, "_IPV4", tmp_path / "route")
    monkeypatch.setattr(routes, "_IPV6", tmp_path / "missing")
    assert default_routes("linux") == parse_linux_ipv4(LINUX4)


def test_of_this_machine() -> None:
    for route in default_routes():
        assert route.interface
        assert route.gateway
