"""`Event` and its variants: values for ``match`` that are never mistaken for one another."""

import itertools
import pickle
from collections.abc import Mapping
from typing import Any, NamedTuple, get_args

import pytest

from crust import event as event_module
from crust.endpoint import Endpoint, Port
from crust.event import AnyEvent, Event, new_messages
from crust.identity import PeerId
from crust.nat.connection_info import ConnectionInfo

HERE = Endpoint.tcp("192.0.2.7:5483")
THERE = Endpoint.utp("[2001:db8::7]:5483")
PEER = PeerId(bytes(range(32)))
INFO = ConnectionInfo(PEER)

EXAMPLES: list[Any] = [
    Event.NewConnection(HERE, PEER),
    Event.NewBootstrapConnection(HERE, PEER),
    Event.NewMessage(HERE, b"hello"),
    Event.LostConnection(HERE, PEER, "it ended"),
    Event.ConnectionFailed((HERE, THERE), {HERE: "refused", THERE: "no answer"}, PEER, {"relay": "nobody volunteers"}),
    Event.ListenerFailed(Port.tcp(5483), "no descriptors left"),
    Event.OwnEndpointsChanged((HERE, THERE)),
    Event.ExternalEndpoints((THERE,)),
    Event.ConnectionInfoPrepared("a token", INFO),
    Event.Flood(HERE, None, "handshakes", 123.5, 50.0),
    Event.Misbehaviour(HERE, PEER, "a frame of the unknown kind 0x7e"),
    Event.Stopped(),
]
VARIANTS = [type(example) for example in EXAMPLES]


def name_of(value: Any) -> str:
    return type(value).__name__


def test_the_examples_are_all_variants_there_are() -> None:
    named = {name: value for name, value in vars(Event).items() if isinstance(value, type)}
    assert list(named.values()) == VARIANTS
    assert [variant.__name__ for variant in VARIANTS] == list(named)
    assert set(get_args(AnyEvent)) == set(VARIANTS)


@pytest.mark.parametrize(
    ("variant", "fields"),
    [
        (Event.NewConnection, ("endpoint", "peer_id")),
        (Event.NewBootstrapConnection, ("endpoint", "peer_id")),
        (Event.NewMessage, ("endpoint", "data")),
        (Event.LostConnection, ("endpoint", "peer_id", "reason")),
        (Event.ConnectionFailed, ("endpoints", "reason", "peer_id", "methods")),
        (Event.ListenerFailed, ("port", "reason")),
        (Event.OwnEndpointsChanged, ("endpoints",)),
        (Event.ExternalEndpoints, ("endpoints",)),
        (Event.ConnectionInfoPrepared, ("token", "info")),
        (Event.Flood, ("endpoint", "peer_id", "kind", "rate", "limit")),
        (Event.Misbehaviour, ("endpoint", "peer_id", "reason")),
        (Event.Stopped, ()),
    ],
)
def test_the_order_of_fields_is_part_of_the_interface(variant: Any, fields: tuple[str, ...]) -> None:
    assert variant._fields == variant.__match_args__ == fields


# --- match -----------------------------------------------------------------------------------------------------------


def matched(event: AnyEvent) -> Any:
    match event:
        case Event.NewConnection(endpoint, peer_id):
            return "NewConnection", endpoint, peer_id
        case Event.NewBootstrapConnection(endpoint, peer_id):
            return "NewBootstrapConnection", endpoint, peer_id
        case Event.NewMessage(endpoint, data=data):
            return "NewMessage", endpoint, data
        case Event.LostConnection(endpoint, reason=reason):
            return "LostConnection", endpoint, event.peer_id, reason
        case Event.ConnectionFailed(reason=reason, endpoints=[*endpoints], methods=methods):
            return "ConnectionFailed", tuple(endpoints), reason, event.peer_id, methods
        case Event.ListenerFailed(port):
            return "ListenerFailed", port, event.reason
        case Event.ExternalEndpoints([*endpoints]):
            return "ExternalEndpoints", tuple(endpoints)
        case Event.ConnectionInfoPrepared(token, info):
            return "ConnectionInfoPrepared", token, info
        case Event.OwnEndpointsChanged([*endpoints]):
            return "OwnEndpointsChanged", tuple(endpoints)
        case Event.Flood(endpoint, peer_id, kind, rate, limit):
            return "Flood", endpoint, peer_id, kind, rate, limit
        case Event.Misbehaviour(endpoint, reason=reason):
            return "Misbehaviour", endpoint, event.peer_id, reason
        case Event.Stopped():
            return ("Stopped",)


@pytest.mark.parametrize("example", EXAMPLES, ids=name_of)
def test_match_takes_fields_by_position_and_by_name(example: Any) -> None:
    assert matched(example) == (name_of(example), *example)


def test_match_on_one_connection() -> None:
    match Event.NewMessage(HERE, b"x"):
        case Event.NewMessage(endpoint) if endpoint == THERE:
            pytest.fail("another endpoint")
        case Event.NewMessage(_, b"x"):
            pass
        case _:
            pytest.fail("the message did not match")


# --- equality --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("example", EXAMPLES, ids=name_of)
def test_equal_content_of_one_variant_is_equal(example: Any) -> None:
    again = type(example)(*example)
    assert again is not example
    assert again == example
    assert not again != example  # noqa: SIM202
    assert hash(again) == hash(example)
    assert len({again, example}) == 1


@pytest.mark.parametrize("example", EXAMPLES, ids=name_of)
def test_other_content_is_not_equal(example: Any) -> None:
    for position in range(len(example)):
        other = type(example)(*(item if n != position else "another" for n, item in enumerate(example)))
        assert other != example
        assert not other == example  # noqa: SIM201


def test_variants_never_equal_each_other_or_a_tuple() -> None:
    same_fields = [variant(HERE, "x") for variant in VARIANTS if len(variant._fields) == 2]
    assert len(same_fields) == 5
    for one, other in itertools.permutations(same_fields, 2):
        assert one != other
        assert not one == other  # noqa: SIM201
    assert len(set(same_fields)) == len(same_fields)
    for example in EXAMPLES:
        assert example != tuple(example)
        assert tuple(example) != example


# --- the rest of a value ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("example", EXAMPLES, ids=name_of)
def test_it_never_changes_and_travels_between_processes(example: Any) -> None:
    for field in (*example._fields, "anything"):
        with pytest.raises(AttributeError):
            setattr(example, field, 1)
    copy = pickle.loads(pickle.dumps(example))
    assert copy == example
    assert type(copy) is type(example)


@pytest.mark.parametrize("example", EXAMPLES, ids=name_of)
def test_it_prints_its_name_and_fields(example: Any) -> None:
    text = repr(example)
    assert text == str(example) == f"{example}"
    assert text.startswith(f"Event.{name_of(example)}(")
    assert all(f"{field}=" in text for field in example._fields)


def test_endpoints_and_peers_print_short() -> None:
    text = repr(Event.NewConnection(HERE, PEER))
    assert text == "Event.NewConnection(endpoint=tcp://192.0.2.7:5483, peer_id=00010203)"


def test_a_long_message_prints_its_beginning_and_its_length() -> None:
    assert repr(Event.NewMessage(HERE, b"x" * 64)).endswith(f"data={b'x' * 64!r})")
    text = repr(Event.NewMessage(HERE, b"\xff" * 16 * 1024 * 1024))
    assert text.endswith("... (16777216 bytes))")
    assert len(text) < 400


def test_every_variant_and_field_of_the_interface_says_what_it_means() -> None:
    assert all(variant.__doc__ and not variant.__doc__.startswith(f"{variant.__name__}(") for variant in VARIANTS)


# --- batches ---------------------------------------------------------------------------------------------------------


def test_a_batch_is_the_same_events_as_one_by_one() -> None:
    messages = [b"a", b"", b"c" * 1000]
    batch = new_messages(HERE, iter(messages))
    assert batch == [Event.NewMessage(HERE, message) for message in messages]
    assert all(type(event) is Event.NewMessage for event in batch)
    assert new_messages(HERE, []) == []


def test_a_variant_with_a_mapping_can_be_hashed_though_a_mapping_cannot() -> None:
    class Extra(NamedTuple):
        reason: Mapping[str, str]

    variant: Any = event_module._variant(Extra)
    assert hash(variant({"a": "b"})) == hash(variant({"a": "b"}))
