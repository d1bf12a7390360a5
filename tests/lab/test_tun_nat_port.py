"""Ethernet and ARP of a box in user space. It needs no lab."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab.tun_nat_packet import UDP, datagram
from tests.lab.tun_nat_port import Arrived, Port

OURS, THEIRS = b"\x02\x01box!", b"\x02\x09them"
EVERYBODY = b"\xff" * 6
NOW = 100.0


def host(text: str) -> bytes:
    return socket.inet_aton(text)


BOX, NEIGHBOUR, FAR = host("11.1.1.2"), host("11.1.1.3"), host("8.8.8.8")


def packet(to: bytes) -> bytes:
    return datagram(UDP, BOX + b"\1\1", to + b"\1\1", b"hello")


def arp(operation: int, sender: bytes, wanted: bytes, to: bytes = EVERYBODY) -> bytes:
    head = b"\x00\x01\x08\x00\x06\x04" + operation.to_bytes(2, "big")
    return to + THEIRS + b"\x08\x06" + head + THEIRS + sender + (bytes(6) if operation == 1 else OURS) + wanted


@pytest.fixture(autouse=True)
def possible() -> None:
    """In place of the lab's fixture of this name: nothing is skipped here."""


def test_it_answers_for_its_own_address_only() -> None:
    port = Port(OURS, BOX)
    assert port.arrive(arp(1, NEIGHBOUR, host("11.1.1.9"))) == Arrived(None, [])
    _, (reply,) = port.arrive(arp(1, NEIGHBOUR, BOX))
    assert (reply[:6], reply[6:12], reply[20:22]) == (THEIRS, OURS, b"\x00\x02")
    assert (reply[22:28], reply[28:32], reply[32:38], reply[38:42]) == (OURS, BOX, THEIRS, NEIGHBOUR)


def test_a_proxy_answers_for_all_others() -> None:
    port = Port(OURS, NEIGHBOUR, proxy=True)
    assert port.arrive(arp(1, NEIGHBOUR, NEIGHBOUR)).frames == []
    (reply,) = port.arrive(arp(1, NEIGHBOUR, FAR)).frames
    assert reply[28:32] == FAR


def test_packets_wait_for_their_neighbour() -> None:
    port = Port(OURS, BOX)
    (question,) = port.leave(packet(NEIGHBOUR), NOW)
    assert (question[:6], question[20:22], question[38:42]) == (EVERYBODY, b"\x00\x01", NEIGHBOUR)
    assert port.leave(packet(NEIGHBOUR), NOW + 0.1) == []
    frames = port.arrive(arp(2, NEIGHBOUR, BOX, OURS)).frames
    assert frames == [THEIRS + OURS + b"\x08\x00" + packet(NEIGHBOUR)] * 2
    assert port.leave(packet(NEIGHBOUR), NOW) == frames[:1]


def test_it_asks_again_and_keeps_no_more_than_it_should() -> None:
    port = Port(OURS, BOX)
    questions = [frame for step in range(1000) for frame in port.leave(packet(NEIGHBOUR), NOW + step / 1000)]
    assert len(questions) == 2
    assert len(port.arrive(arp(1, NEIGHBOUR, host("11.1.1.9"))).frames) == 256


def test_what_is_far_away_goes_to_the_gateway() -> None:
    assert Port(OURS, BOX).leave(packet(FAR), NOW) == []
    port = Port(OURS, BOX, gateway=NEIGHBOUR)
    (question,) = port.leave(packet(FAR), NOW)
    assert question[38:42] == NEIGHBOUR


def test_only_frames_for_it_are_packets() -> None:
    port, carried = Port(OURS, BOX), packet(BOX)
    assert port.arrive(OURS + THEIRS + b"\x08\x00" + carried).packet == carried
    assert port.arrive(EVERYBODY + THEIRS + b"\x08\x00" + carried).packet is None
    assert port.arrive(OURS + THEIRS + b"\x86\xdd" + carried).packet is None


@given(st.binary(max_size=60))
def test_garbage_breaks_nothing(frame: bytes) -> None:
    Port(OURS, BOX).arrive(frame)
    Port(OURS, BOX).arrive(frame[:12] + b"\x08\x06" + frame[12:])
