"""`crust.transport.base`: every transport has all of `Stream`, with the same arguments."""

import inspect

import pytest

from crust.transport.base import Stream
from crust.transport.tcp import TcpStream

METHODS = {name: member for name, member in vars(Stream).items() if inspect.isfunction(member) and name[0] != "_"}


@pytest.mark.parametrize("kind", [TcpStream])
@pytest.mark.parametrize("name", METHODS)
def test_a_transport_has_the_methods_of_a_stream(kind: type, name: str) -> None:
    assert inspect.signature(getattr(kind, name)) == inspect.signature(METHODS[name])
    assert inspect.getdoc(getattr(kind, name)) == f"See `Stream.{name}`.", "the contract is written once"


def test_the_contract_is_complete() -> None:
    assert set(METHODS) == {
        "receive_into",
        "receive_waiting",
        "send_all",
        "send_waiting",
        "set_deadline",
        "finish_sending",
        "abort",
        "close",
    }
    assert set(inspect.get_annotations(Stream)) == {"local", "remote"}
    for method in METHODS.values():
        assert inspect.getdoc(method)
