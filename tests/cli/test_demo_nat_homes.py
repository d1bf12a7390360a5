"""The homes of ``crust demo --nat``: what a machine lacks for them. That they work: ``tests/lab/test_demo_nat.py``."""

import ipaddress
import os
import shutil
import subprocess
import sys

import pytest

from crust.cli import demo_nat_homes
from crust.cli.demo_nat_homes import HOMES, OPEN, Street, StreetError, missing
from crust.nat.ranges import is_local


def test_only_linux_has_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "needs Linux" in str(missing())


def test_missing_tools_are_named_with_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(shutil, "which", lambda tool: None if tool in ("nft", "nsenter", "unshare") else f"/bin/{tool}")
    told = str(missing())
    assert "needs unshare, nsenter, nft" in told
    assert "apt-get install nftables util-linux" in told


@pytest.mark.skipif(os.name != "posix", reason="nobody is root there")
def test_it_needs_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(shutil, "which", lambda tool: f"/bin/{tool}")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "sudo crust demo --nat" in str(missing())
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert missing() is None


def test_whoever_is_in_the_open_can_be_meant_by_everybody() -> None:
    assert not any(map(is_local, (*OPEN, *(home.outer for home in HOMES))))
    assert all(is_local(home.inner) for home in HOMES)
    assert all(ipaddress.ip_address(home.inner).packed[-1] == 2 for home in HOMES), "the router is the first"


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
def test_a_machine_that_allows_no_namespaces_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    popen = subprocess.Popen

    def refuse(command: list[str], **settings: object) -> object:
        assert command[0] == "unshare"
        return popen(["sh", "-c", "echo unshare: not permitted >&2; exit 1"], **settings)  # type: ignore[call-overload]

    monkeypatch.setattr(demo_nat_homes.subprocess, "Popen", refuse)
    with pytest.raises(StreetError, match="unshare: not permitted"):
        Street()
