"""Packets in a row, recognised without decoding each: never when decoding each would say otherwise."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.errors import Malformed
from crust.transport.utp.packet import HEADER_SIZE, Packet, PacketType, decode, encode
from crust.transport.utp.train import Train, as_train


def packet(seq_nr: int, payload: bytes, **others: int) -> Packet:
    return Packet(PacketType.DATA, 1001, 5, 6, 7, seq_nr, 9, payload=payload)._replace(**others)


def batch(packets: list[Packet]) -> tuple[bytes, int]:
    data = [encode(each) for each in packets]
    return b"".join(data), len(data[0])


def one_by_one(data: bytes, segment: int) -> Train | None:
    """The same, the slow way."""
    try:
        found = [decode(data[at : at + segment]) for at in range(0, len(data), segment)]
    except Malformed:
        return None
    first = found[0]
    for number, each in enumerate(found):
        plain = each.type == PacketType.DATA and not each.sack and each.close_reason is None
        if not plain or each.connection_id != first.connection_id or each.seq_nr != (first.seq_nr + number) % 65536:
            return None
    heads = [each._replace(payload=b"") for each in (first, found[-1])]
    return Train(heads[0], heads[1], len(found), b"".join(each.payload for each in found))


@given(
    seq_nr=st.integers(0, 65535),
    count=st.integers(1, 64),
    size=st.integers(1, 100),
    last=st.integers(0, 100),
    seed=st.integers(0, 99),
)
def test_what_a_sender_sends_in_a_row_is_a_train(seq_nr: int, count: int, size: int, last: int, seed: int) -> None:
    rng = Random(seed)
    sizes = [size] * (count - 1) + [min(last, size) if count > 1 else size]
    packets = [packet((seq_nr + i) % 65536, rng.randbytes(n), ack_nr=i, window=i) for i, n in enumerate(sizes)]
    found = as_train(*batch(packets))
    if seq_nr + count > 65536:
        assert found is None, "the end of the numbers is not worth the trouble"
    else:
        assert found == one_by_one(*batch(packets))
        assert found is not None
        assert found.packets == count
        assert (found.first.ack_nr, found.last.ack_nr) == (0, count - 1)


@given(
    count=st.integers(2, 8),
    size=st.integers(1, 30),
    changes=st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), min_size=1, max_size=3),
    cut=st.integers(0, 60),
    seq_nr=st.sampled_from([0, 254, 255, 65530]),
)
def test_it_never_accepts_what_differs(
    count: int, size: int, changes: list[tuple[int, int]], cut: int, seq_nr: int
) -> None:
    data, segment = batch([packet((seq_nr + i) % 65536, bytes(size)) for i in range(count)])
    changed = bytearray(data)
    for at, value in changes:
        changed[at % len(changed)] = value
    data = bytes(changed[: max(len(changed) - cut, 1)])
    found = as_train(data, segment)
    if found is not None:
        assert found == one_by_one(data, segment)


@pytest.mark.parametrize(
    "others",
    [
        {"type": PacketType.FIN},
        {"type": PacketType.STATE},
        {"connection_id": 1000},
        {"connection_id": 1001 + 256},
        {"seq_nr": 1},
        {"seq_nr": 4},
        {"seq_nr": 3 + 256},
        {"sack": b"\1\0\0\0"},
    ],
)
@pytest.mark.parametrize("where", [0, 1, 2])
def test_one_that_is_different_makes_it_none(where: int, others: dict[str, int]) -> None:
    packets = [packet(2 + number, b"payload") for number in range(3)]
    if others != {"seq_nr": 4} or where != 2:
        packets[where] = packets[where]._replace(**others)
        data = b"".join(encode(each).ljust(40, b"\0") for each in packets)
        assert as_train(data, 40) is None


def test_what_is_too_short_is_none() -> None:
    data, segment = batch([packet(1, b"abc"), packet(2, b"abc")])
    assert as_train(data[:-4], segment) is None, "the last header is cut"
    assert as_train(data[:-3], segment) is not None
    empty, _ = batch([packet(1, b""), packet(2, b"")])
    assert as_train(empty, HEADER_SIZE) is None, "packets without payload are not worth it"
    assert as_train(data, 7) is None
