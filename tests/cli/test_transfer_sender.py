"""The sending side, alone and with the receiving side, over links that break anywhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.cli import transfer_wire as wire
from crust.cli.transfer_receiver import Began, Done, Finished
from crust.cli.transfer_sender import Result, SenderSession, State
from crust.cli.transfer_wire import Code, Message, TransferError, encode, parse_untrusted
from crust.errors import Malformed
from tests.cli.transfer_fakes import ID, MemoryFolder, MemorySource, hash_of, receiver, run_pair, sender

DATA = bytes(range(100))


def tell(session: SenderSession, *messages: Message) -> list[Message]:
    return [parse_untrusted(reply) for message in messages for reply in session.receive(encode(message))]


def all_now(session: SenderSession) -> list[Message]:
    """Everything that the session wants to send before it hears more."""
    found = []
    while (message := session.next_message()) is not None:
        found.append(parse_untrusted(message))
    return found


@given(st.binary(max_size=200), st.integers(1, 50), st.integers(1, 100))
def test_any_file_arrives_in_pieces_of_any_size(data: bytes, chunk: int, window: int) -> None:
    folder = MemoryFolder()
    sending = sender(data, chunk=chunk, window=window)
    reports = run_pair(sending, receiver(folder))
    assert sending.result == Result(True, "name")
    assert sending.written == len(data)
    assert folder.files == {"name": data}
    assert reports[-1] == Done("name", "name", len(data), already=False)


@given(st.lists(st.integers(1, 60), max_size=12), st.booleans())
def test_a_link_that_breaks_anywhere_loses_and_repeats_nothing(breaks: list[int], receiver_restarts: bool) -> None:
    folder = MemoryFolder()
    finished = Finished()
    sending = sender(DATA)
    for most in [*breaks, 10_000]:
        sending = sender(DATA)
        receiving = receiver(folder, Finished() if receiver_restarts else finished)
        before = len(folder.parts.get(("name", len(DATA)), b""))
        reports = run_pair(sending, receiving, most)
        receiving.close()
        began = [report for report in reports if isinstance(report, Began)]
        assert all(report.position == before for report in began)
        if sending.result is not None:
            break
    assert sending.result is not None
    assert sending.result.ok
    assert folder.files == {"name": DATA}


def test_no_more_than_the_window_is_under_way() -> None:
    session = sender(DATA, chunk=10, window=25)
    assert all_now(session) == []
    tell(session, wire.Start(ID, 0))
    assert [message.position for message in all_now(session) if isinstance(message, wire.Chunk)] == [0, 10, 20]
    tell(session, wire.Position(ID, 10))
    assert [message.position for message in all_now(session) if isinstance(message, wire.Chunk)] == [30]
    assert session.written == 10


def test_what_is_there_is_proved_and_not_sent_again() -> None:
    session = sender(DATA, chunk=100)
    assert tell(session, wire.Have(ID, 40)) == [wire.Proof(ID, 40, hash_of(DATA[:40]))]
    tell(session, wire.Start(ID, 40))
    assert session.started_at == 40
    assert all_now(session)[0] == wire.Chunk(ID, 40, memoryview(DATA[40:]))


def test_success_is_only_what_was_saved_with_the_right_hash() -> None:
    session = sender(b"")
    tell(session, wire.Start(ID, 0))
    assert all_now(session) == [wire.Finish(ID, 0, hash_of(b""))]
    tell(session, wire.Saved(ID, False, hash_of(b"other"), "name"))
    assert session.result is not None
    assert not session.result.ok
    assert session.result.code is Code.CORRUPT


def test_a_receiver_that_claims_to_have_a_file_is_believed_only_with_its_hash() -> None:
    liar = sender(DATA)
    tell(liar, wire.Saved(ID, True, bytes(32), "name"))
    assert liar.result is not None
    assert not liar.result.ok
    honest = sender(DATA)
    tell(honest, wire.Saved(ID, True, hash_of(DATA), "name"))
    assert honest.result == Result(True, "name", already=True)


def test_a_refusal_is_the_result() -> None:
    session = sender(DATA)
    tell(session, wire.Refused(ID, Code.EXISTS, "it exists"))
    assert session.result == Result(False, "it exists", code=Code.EXISTS)
    assert all_now(session) == []
    assert tell(session, wire.Start(ID, 0)) == []


def test_a_refusal_of_the_whole_connection_is_one_too() -> None:
    session = sender(DATA)
    tell(session, wire.Refused(wire.NO_TRANSFER, Code.PROTOCOL, "what was that?"))
    assert session.result == Result(False, "what was that?", code=Code.PROTOCOL)


def test_a_source_that_fails_cancels() -> None:
    source = MemorySource(DATA)
    session = SenderSession(ID, "name", source)
    tell(session, wire.Start(ID, 0))
    source.error = TransferError(Code.DISK, "gone", "at home")
    assert all_now(session) == [wire.Cancel(ID, "gone")]
    assert session.result == Result(False, "gone (at home)", code=Code.DISK, here=True)


def test_a_file_that_changes_meanwhile_is_not_finished() -> None:
    source = MemorySource(DATA)
    session = SenderSession(ID, "name", source)
    tell(session, wire.Start(ID, 0))
    source.data += b"more"
    chunk, cancel = all_now(session)
    assert isinstance(chunk, wire.Chunk)
    assert cancel == wire.Cancel(ID, "the file was changed")


def test_messages_about_an_earlier_file_are_passed_over() -> None:
    session = sender(DATA)
    assert tell(session, wire.Refused(b"another transfer", Code.DISK, ""), wire.Start(b"another transfer", 1)) == []
    assert session.state is State.OFFERED


def test_what_is_being_checked_is_reported_and_not_taken_as_written() -> None:
    seen: list[int] = []
    session = SenderSession(ID, "name", MemorySource(DATA), checking=seen.append)
    tell(session, wire.Position(ID, 50))
    assert (seen, session.written) == ([50], 0)


@pytest.mark.parametrize(
    "messages",
    [
        [wire.Have(ID, len(DATA) + 1)],
        [wire.Start(ID, 1)],
        [wire.Have(ID, 5), wire.Start(ID, 6)],
        [wire.Start(ID, 0), wire.Start(ID, 0)],
        [wire.Start(ID, 0), wire.Have(ID, 0)],
        [wire.Start(ID, 0), wire.Position(ID, 1)],
        [wire.Start(ID, 0), wire.Saved(ID, False, hash_of(DATA), "name")],
        [wire.Finish(ID, len(DATA), bytes(32))],
        [wire.Offer(ID, 0, 0, "name")],
    ],
)
def test_what_comes_at_the_wrong_time_ends_the_connection(messages: list[Message]) -> None:
    session = sender(DATA)
    with pytest.raises(Malformed):
        tell(session, *messages)


positions = st.integers(0, 101)
hashes = st.sampled_from([hash_of(DATA), bytes(32)])
from_receivers = st.one_of(
    st.builds(wire.Have, st.just(ID), positions),
    st.builds(wire.Start, st.just(ID), positions),
    st.builds(wire.Position, st.just(ID), positions),
    st.builds(wire.Saved, st.just(ID), st.booleans(), hashes, st.just("name")),
    st.builds(wire.Refused, st.sampled_from([ID, bytes(16)]), st.sampled_from(Code), st.just("")),
)


@given(st.lists(from_receivers, max_size=20))
def test_whatever_a_receiver_says_only_malformed_escapes(messages: list[Message]) -> None:
    session = sender(DATA, chunk=30, window=60)
    for message in messages:
        try:
            tell(session, message)
        except Malformed:
            return
        all_now(session)
        assert (session.result is not None) == (session.state is State.DONE)
        if session.result is not None:
            right = isinstance(message, wire.Saved) and message.digest == hash_of(DATA)
            assert session.result.ok == right
            return
