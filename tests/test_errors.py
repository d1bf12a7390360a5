"""The error tree is what its docstring draws."""

import inspect
import pickle
import queue
import re

import pytest

from crust import errors
from crust.errors import CrustError, LocalError, RemoteError

_LINE = re.compile(r"^ {4}(?P<rails>[│ ]*(?:[├└]── )?)(?P<name>[A-Z]\w+)(?: +(?P<base>[a-z.]*[A-Z]\w+)(?:  |$))?")
_STANDARD = {"queue.Full": queue.Full}

CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and value.__module__ == "crust.errors"
}


def drawn_tree() -> dict[str, tuple[str | None, str | None]]:
    """Name to parent and standard base, as the docstring draws them."""
    tree: dict[str, tuple[str | None, str | None]] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if found := _LINE.match(line):
            depth = len(found["rails"]) // 4
            path[depth:] = [found["name"]]
            tree[found["name"]] = (path[depth - 1] if depth else None, found["base"])
    return tree


def standard(name: str) -> type[BaseException]:
    return _STANDARD.get(name) or getattr(__import__("builtins"), name)


def test_every_error_is_drawn_and_nothing_else() -> None:
    assert set(drawn_tree()) == set(CLASSES)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_it_stands_where_it_is_drawn(name: str) -> None:
    parent, base = drawn_tree()[name]
    assert CLASSES[name].__bases__[0] is (CLASSES[parent] if parent else Exception)
    if base:
        assert issubclass(CLASSES[name], standard(base))


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_it_is_local_or_remote_never_both_and_has_a_docstring(name: str) -> None:
    error = CLASSES[name]
    assert issubclass(error, CrustError)
    if error is not CrustError:
        assert issubclass(error, LocalError) != issubclass(error, RemoteError)
    assert inspect.getdoc(error)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.ConfigError, ValueError),
        (errors.EndpointError, ValueError),
        (errors.IdentityError, ValueError),
        (errors.ManagerStopped, RuntimeError),
        (errors.NotConnected, ConnectionError),
        (errors.MessageTooLarge, ValueError),
        (errors.SendQueueFull, queue.Full),
        (errors.TransportUnavailable, NotImplementedError),
        (errors.ListenFailed, ConnectionError),
        (errors.DialFailed, ConnectionError),
        (errors.HandshakeFailed, ConnectionError),
        (errors.Malformed, ValueError),
        (errors.ConnectionLost, OSError),
        (errors.TimedOut, TimeoutError),
    ],
)
def test_it_is_caught_by_the_standard_error_one_would_look_for(
    error: type[CrustError], expected: type[Exception]
) -> None:
    with pytest.raises(expected, match="why and what to do"):
        raise error("why and what to do")


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_it_travels_between_processes(name: str) -> None:
    copy = pickle.loads(pickle.dumps(CLASSES[name]("why")))
    assert type(copy) is CLASSES[name]
    assert str(copy) == "why"
