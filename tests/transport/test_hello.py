"""Hellos: what is encoded can be read, what is hostile is Malformed, what is unknown is ignored."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.errors import Malformed
from crust.transport.hello import MAX_HELLO, MAX_PADDING, PROTOCOL_VERSION, Hello

cipher_names = st.from_regex(r"[a-z0-9-]{1,16}", fullmatch=True)
hellos = st.builds(
    Hello,
    session=st.one_of(st.just(b""), st.binary(min_size=8, max_size=8)),
    ciphers=st.lists(cipher_names, max_size=8).map(tuple),
    cipher=st.one_of(st.none(), cipher_names),
    serial=st.integers(0, 2**63 - 1),
    alone=st.booleans(),
    agent=st.one_of(st.none(), st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=64)),
    seen=st.one_of(st.none(), st.tuples(st.ip_addresses().map(str), st.integers(1, 65535))),
)


@given(hello=hellos, padding=st.integers(0, MAX_PADDING))
def test_what_is_encoded_can_be_read(hello: Hello, padding: int) -> None:
    payload = hello.encode(padding)
    assert Hello.parse(payload) == hello
    assert len(payload) == len(hello.encode()) + padding <= MAX_HELLO + MAX_PADDING


def test_a_hello_in_full() -> None:
    hello = Hello(
        session=b"8 bytes!",
        ciphers=("aegis256", "chacha20"),
        cipher="chacha20",
        serial=3,
        alone=True,
        agent="é 1",
        seen=("203.0.113.9", 40000),
    )
    assert json.loads(hello.encode()) == {
        "version": PROTOCOL_VERSION,
        "session": "3820627974657321",
        "ciphers": ["aegis256", "chacha20"],
        "cipher": "chacha20",
        "serial": 3,
        "alone": True,
        "agent": "é 1",
        "seen": "203.0.113.9:40000",
    }
    assert Hello.parse(hello.encode()) == hello


def test_the_first_hello_tells_the_version_only() -> None:
    assert Hello().encode() == b'{"version":1}'


def test_what_is_unknown_is_ignored() -> None:
    payload = json.dumps({"version": 1, "later": {"idea": [1, 2.5, None]}, "serial": 4}).encode()
    assert Hello.parse(payload) == Hello(serial=4)


def test_null_is_absent() -> None:
    fields = dict.fromkeys(["session", "ciphers", "cipher", "serial", "alone", "agent", "seen"])
    assert Hello.parse(json.dumps({"version": 1} | fields).encode()) == Hello()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("203.0.113.9:1", ("203.0.113.9", 1)),
        ("[2001:DB8::0:7]:65535", ("2001:db8::7", 65535)),
        (f"[{':'.join(['ffff'] * 8)}]:65535", (":".join(["ffff"] * 8), 65535)),
    ],
)
def test_where_the_sender_sees_us(text: str, address: tuple[str, int]) -> None:
    assert Hello.parse(json.dumps({"version": 1, "seen": text}).encode()).seen == address


def test_of_another_version_only_the_version_is_read() -> None:
    assert Hello.parse(b'{"version": 2, "session": 17, "ciphers": "all"}') == Hello(version=2)


@pytest.mark.parametrize(
    "change",
    [
        {"version": None},
        {"version": 0},
        {"version": 65536},
        {"version": "1"},
        {"version": 1.0},
        {"version": True},
        {"session": "3820627974657321ff"},
        {"session": "38206279746573"},
        {"session": "38 20 62 79 74 65"},
        {"session": "3820627974657321\n"},
        {"session": "382062797465732G"},
        {"session": 1},
        {"ciphers": "aegis256"},
        {"ciphers": [1]},
        {"ciphers": [""]},
        {"ciphers": ["Upper"]},
        {"ciphers": ["x" * 33]},
        {"ciphers": ["x"] * 9},
        {"ciphers": {}},
        {"cipher": ""},
        {"cipher": ["x"]},
        {"cipher": "new\nline"},
        {"serial": -1},
        {"serial": 2**63},
        {"serial": False},
        {"serial": 1e3},
        {"alone": 1},
        {"alone": "yes"},
        {"agent": "x" * 65},
        {"agent": "\x1b[2J"},
        {"agent": "\u202e"},
        {"agent": "\ud800"},
        {"agent": 5},
        {"seen": ["203.0.113.9", 1]},
        {"seen": ""},
        {"seen": "203.0.113.9"},
        {"seen": "203.0.113.9:0"},
        {"seen": "203.0.113.9:65536"},
        {"seen": "203.0.113.9:-1"},
        {"seen": "203.0.113.9: 1"},
        {"seen": " 203.0.113.9:1"},
        {"seen": "203.0.113.9:1\n"},
        {"seen": "203.0.113:1"},
        {"seen": "tcp://203.0.113.9:1"},
        {"seen": "a.example:1"},
        {"seen": "2001:db8::7:1"},
        {"seen": "[2001:db8::7]"},
        {"seen": "[203.0.113.9]:1"},
        {"seen": "[fe80::1%eth0]:1"},
        {"seen": "[fe80::1%]:1"},
        {"seen": f"[{':'.join(['ffff'] * 8)}]:65535" + "0"},
        {"seen": "203.0.113.9:1" + "x" * 100},
        {"seen": "\ud800:1"},
    ],
    ids=str,
)
def test_wrong_fields(change: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        Hello.parse(json.dumps({"version": 1} | change).encode())


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b" " * 100,
        b"null",
        b"[]",
        b"7",
        b"{",
        b'{"version":1',
        b'{"version":1}x',
        b'{"version":1}\0',
        b"\xff\xfe{",
        '{"version":1}'.encode("utf-16"),
        '{"version":1}'.encode("utf-32"),
        b"\xef\xbb\xbf" + b'{"version":1}',
        b"[" * 512,
        b'{"a":' * 100,
        b'{"version":' + b"9" * 480 + b"}",
        b'{"version":NaN}',
        b'{"version":1,"x":"' + b"x" * MAX_HELLO + b'"}',
        b'{"version":1}' + b" " * (MAX_HELLO + MAX_PADDING),
    ],
    ids=lambda payload: str(payload[:20]),
)
def test_what_is_no_hello(payload: bytes) -> None:
    with pytest.raises(Malformed):
        Hello.parse(payload)


def test_deep_nesting_on_a_deep_stack() -> None:
    """The parser must not run out of stack just because its caller sits deep already."""

    def deeper(levels: int) -> None:
        if levels:
            deeper(levels - 1)
        else:
            with pytest.raises(Malformed):
                Hello.parse(b'{"version":' + b"[" * 490)

    deeper(700)


@given(st.one_of(st.binary(max_size=900), st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace"))))
def test_garbage_is_malformed_and_nothing_else(payload: bytes) -> None:
    with pytest.raises(Malformed):
        Hello.parse(payload)


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=5,
)


@given(
    st.fixed_dictionaries(
        {"version": st.sampled_from([1, 1, 1, 2, 0, "1"])},
        optional=dict.fromkeys(
            ("session", "ciphers", "cipher", "serial", "alone", "agent", "seen", "other"), json_values
        ),
    )
)
def test_any_json_object_is_read_or_malformed(fields: dict[str, Any]) -> None:
    try:
        hello = Hello.parse(json.dumps(fields).encode())
    except Malformed:
        return
    assert Hello.parse(hello.encode()) == hello


@pytest.mark.parametrize("padding", [-1, MAX_PADDING + 1])
def test_padding_is_bounded(padding: int) -> None:
    with pytest.raises(ValueError, match="padding"):
        Hello().encode(padding)


def test_too_much_to_say() -> None:
    with pytest.raises(ValueError, match="at most"):
        Hello(ciphers=("x" * 100,) * 8).encode()
