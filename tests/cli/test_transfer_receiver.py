"""The receiving side without a disk or a network: what it answers, what it never does, and what ends the connection."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.cli import transfer_wire as wire
from crust.cli.transfer_receiver import (
    REMEMBERED,
    Action,
    Began,
    Done,
    Ended,
    Failed,
    Finished,
    Moved,
    ReceiverSession,
    Reply,
    State,
)
from crust.cli.transfer_wire import Code, Message, TransferError, encode, parse_untrusted
from crust.errors import Malformed
from tests.cli.transfer_fakes import ID, MemoryFolder, hash_of, receiver, run_pair, sender

DATA = b"the bytes of a file"


def offer(name: str = "name", size: int = len(DATA), transfer: bytes = ID, following: int = 0) -> wire.Offer:
    return wire.Offer(transfer, size, following, name)


def tell(session: ReceiverSession, *messages: Message) -> list[Action | Message]:
    """What the session does about messages; replies as messages."""
    actions = [action for message in messages for action in session.receive(encode(message))]
    return [parse_untrusted(action.data) if isinstance(action, Reply) else action for action in actions]


def chunk(position: int, data: bytes) -> wire.Chunk:
    return wire.Chunk(ID, position, memoryview(data))


def test_a_file_comes_in() -> None:
    folder = MemoryFolder()
    session = receiver(folder)
    assert tell(session, offer()) == [wire.Start(ID, 0), Began("name", len(DATA), 0)]
    assert tell(session, chunk(0, DATA[:5])) == [wire.Position(ID, 5), Moved(5)]
    tell(session, chunk(5, DATA[5:]))
    digest = hash_of(DATA)
    assert tell(session, wire.Finish(ID, len(DATA), digest)) == [
        wire.Saved(ID, False, digest, "name"),
        Done("name", "name", len(DATA), already=False),
    ]
    assert folder.files == {"name": DATA}
    assert not folder.parts
    assert tell(session, wire.End()) == [Ended()]


@pytest.mark.parametrize("name", ["../name", "", "a/b", ".hidden", "nul", "x\x1b[2J"])
def test_a_name_that_is_not_one_is_refused_before_the_disk_is_asked(name: str) -> None:
    folder = MemoryFolder(error=TransferError(Code.DISK, "touched"))
    session = receiver(folder)
    refused, failed = tell(session, offer(name))
    assert isinstance(refused, wire.Refused)
    assert refused.code is Code.BAD_NAME
    assert isinstance(failed, Failed)
    assert failed.final
    assert folder.error is not None


def test_a_wrong_hash_is_never_saved() -> None:
    folder = MemoryFolder()
    done = tell(receiver(folder), offer(), chunk(0, DATA), wire.Finish(ID, len(DATA), hash_of(b"other")))
    assert isinstance(done[-2], wire.Refused)
    assert done[-2].code is Code.CORRUPT
    assert not folder.files
    assert not folder.parts


def test_a_part_is_used_only_when_the_sender_proves_it() -> None:
    folder = MemoryFolder(parts={("name", len(DATA)): DATA[:7]})
    session = receiver(folder)
    assert tell(session, offer()) == [wire.Have(ID, 7)]
    assert tell(session, wire.Proof(ID, 7, hash_of(DATA[:7])))[0] == wire.Start(ID, 7)

    session.close()
    assert tell(session, offer(), wire.Proof(ID, 7, hash_of(b"another")))[1] == wire.Start(ID, 0)


def test_a_file_that_is_there_already_is_not_sent_again() -> None:
    session = receiver(MemoryFolder(files={"name": DATA}))
    assert tell(session, offer(), wire.Proof(ID, len(DATA), hash_of(DATA))) == [
        wire.Have(ID, len(DATA)),
        wire.Saved(ID, True, hash_of(DATA), "name"),
        Done("name", "name", len(DATA), already=True),
    ]


@pytest.mark.parametrize("size", [len(DATA), 5])
def test_another_file_of_that_name_stays(size: int) -> None:
    folder = MemoryFolder(files={"name": b"x" * size})
    session = receiver(folder)
    done = tell(session, offer())
    if size == len(DATA):
        done = tell(session, wire.Proof(ID, len(DATA), hash_of(DATA)))
    assert isinstance(done[0], wire.Refused)
    assert done[0].code is Code.EXISTS
    assert folder.files == {"name": b"x" * size}


def test_another_file_of_that_name_makes_way_when_told_and_a_part_is_still_used() -> None:
    folder = MemoryFolder(files={"name": b"x" * len(DATA)}, parts={("name", len(DATA)): DATA[:4]}, overwrite=True)
    session = receiver(folder)
    assert tell(session, offer(), wire.Proof(ID, len(DATA), hash_of(DATA)))[-1] == wire.Have(ID, 4)
    assert run_pair(sender(DATA), receiver(MemoryFolder(folder.files, dict(folder.parts), True)))[0] == Began(
        "name", len(DATA), 4
    )


def test_a_disk_that_fails_ends_the_transfer_and_not_the_connection() -> None:
    folder = MemoryFolder()
    session = receiver(folder)
    tell(session, offer(), chunk(0, DATA[:5]))
    folder.error = TransferError(Code.NO_SPACE, "full", "20 bytes are missing")
    refused, failed = tell(session, chunk(5, DATA[5:]))
    assert refused == wire.Refused(ID, Code.NO_SPACE, "full")
    assert failed == Failed("name", "full (20 bytes are missing)", final=True)
    assert tell(session, chunk(9, DATA), wire.Finish(ID, len(DATA), hash_of(DATA))) == []  # was under way
    assert folder.parts == {("name", len(DATA)): DATA[:5]}
    assert tell(session, offer(transfer=b"another transfer"))[0] == wire.Have(b"another transfer", 5)


def test_busy_is_not_final() -> None:
    folder = MemoryFolder(in_use={("name", len(DATA))})
    session = receiver(folder)
    assert tell(session, offer())[1] == Failed("name", "busy", final=False)
    assert not session.all_answered


def test_a_sender_that_missed_the_last_word_hears_it_again() -> None:
    finished = Finished()
    folder = MemoryFolder()
    run_pair(sender(DATA), receiver(folder, finished))
    folder.files.clear()
    assert tell(receiver(folder, finished), offer()) == [wire.Saved(ID, False, hash_of(DATA), "name")]


def test_finished_transfers_are_forgotten_in_the_end() -> None:
    finished = Finished()
    for number in range(REMEMBERED + 1):
        finished.add(wire.Saved(number.to_bytes(16, "big"), False, bytes(32), "name"))
    assert finished.get(bytes(16)) is None
    assert finished.get(REMEMBERED.to_bytes(16, "big")) is not None


def test_a_sender_that_gives_up_leaves_its_part() -> None:
    folder = MemoryFolder()
    done = tell(receiver(folder), offer(), chunk(0, DATA[:5]), wire.Cancel(ID, "changed"))
    assert done[-1] == Failed("name", "the sender gave up: changed", final=True)
    assert folder.parts == {("name", len(DATA)): DATA[:5]}


def test_all_is_answered_after_the_last_file_only() -> None:
    session = receiver(MemoryFolder())
    tell(session, offer("one", 0, following=1), wire.Finish(ID, 0, hash_of(b"")))
    assert not session.all_answered
    tell(session, offer("two", 0), wire.Finish(ID, 0, hash_of(b"")))
    assert session.all_answered


OFFERED = [offer()]
PROVING = [offer(size=7)]  # of which the folder has a part


@pytest.mark.parametrize(
    ("before", "message"),
    [
        ([], wire.Have(ID, 0)),
        ([], wire.Start(ID, 0)),
        ([], wire.Position(ID, 0)),
        ([], wire.Saved(ID, False, bytes(32), "name")),
        ([], wire.Refused(ID, Code.OTHER, "no")),
        (OFFERED, offer()),
        (OFFERED, wire.End()),
        (OFFERED, chunk(1, b"x")),
        (OFFERED, chunk(0, DATA + b"x")),
        (OFFERED, wire.Proof(ID, 0, bytes(32))),
        (OFFERED, wire.Finish(ID, len(DATA), hash_of(DATA))),
        ([*OFFERED, chunk(0, DATA)], wire.Finish(ID, 5, hash_of(DATA))),
        ([*OFFERED, chunk(0, DATA)], chunk(0, DATA)),
        (PROVING, chunk(0, b"x")),
        (PROVING, wire.Proof(ID, 3, bytes(32))),
        (PROVING, wire.Finish(ID, 7, bytes(32))),
    ],
)
def test_what_comes_at_the_wrong_time_ends_the_connection(before: list[Message], message: Message) -> None:
    session = receiver(MemoryFolder(parts={("name", 7): b"abcd"}))
    tell(session, *before)
    with pytest.raises(Malformed):
        tell(session, message)


small = st.integers(0, 6)
hashes = st.sampled_from([hash_of(b"abcdef"[:count]) for count in range(7)])
transfers = st.sampled_from([ID, b"another transfer"])
from_senders = st.one_of(
    st.builds(wire.Offer, transfers, small, small, st.sampled_from(["name", "other", "../bad"])),
    st.builds(wire.Proof, transfers, small, hashes),
    st.builds(wire.Chunk, transfers, small, st.sampled_from([memoryview(b"abcdef"[:count]) for count in range(1, 7)])),
    st.builds(wire.Finish, transfers, small, hashes),
    st.builds(wire.Cancel, transfers, st.just("")),
    st.just(wire.End()),
    st.builds(wire.Start, transfers, small),
)


@given(st.lists(from_senders, max_size=20))
def test_whatever_a_sender_says_only_malformed_escapes_and_only_proved_bytes_are_saved(messages: list[Message]) -> None:
    folder = MemoryFolder(files={"other": b"xyz"}, parts={("name", 6): b"abc"})
    session = receiver(folder)
    offered: dict[str, int] = {}
    for message in messages:
        if isinstance(message, wire.Offer):
            offered[message.name] = message.size
        try:
            actions = session.receive(encode(message))
        except Malformed:
            session.close()
            break
        for action in actions:
            if isinstance(action, Done) and not action.already:
                assert len(folder.files[action.saved_as]) == offered[action.name]
    assert folder.files.pop("other") == b"xyz"
    assert set(folder.files) <= {"name"}
    session.close()
    assert not folder.in_use
    assert session.state is State.IDLE
