"""Who has sent a SYN: bounded in all and per network, gone after a while, the oldest first."""

from hypothesis import given
from hypothesis import strategies as st

from crust.transport.utp.burst import Address
from crust.transport.utp.constants import HALF_OPEN_SECONDS
from crust.transport.utp.half_open import Asked, HalfOpen, network_of

NOW = 50.0


def test_the_network_of_an_address() -> None:
    assert network_of(("192.0.2.1", 7)) == "192.0.2.1"
    assert network_of(("2001:db8::1", 7, 0, 0)) == network_of(("2001:db8::ffff:1", 9, 0, 0))
    assert network_of(("2001:db8::1", 7, 0, 0)) != network_of(("2001:db8:0:1::1", 7, 0, 0))
    assert network_of(("fe80::1%eth0", 7, 0, 2)) == network_of(("fe80::2", 7, 0, 2))


def test_what_was_asked_is_remembered_until_it_is_removed() -> None:
    table = HalfOpen(10, 5)
    assert table.add(("192.0.2.1", 7), 8, 100, 200, NOW)
    assert len(table) == 1
    assert table.get(("192.0.2.1", 7), 8) == Asked(100, 200, NOW, "192.0.2.1")
    assert table.get(("192.0.2.1", 7), 9) is None
    assert table.get(("192.0.2.1", 6), 8) is None
    table.remove(("192.0.2.1", 7), 8)
    table.remove(("192.0.2.1", 7), 8)
    assert len(table) == 0
    assert table._networks == {}


def test_of_one_address_the_last_one_counts_and_the_others_go_with_it() -> None:
    table, same = HalfOpen(10, 5), ("192.0.2.1", 7)
    for recv_id, address in ((8, same), (5, ("192.0.2.1", 6)), (9, same), (6, ("192.0.2.2", 7))):
        table.add(address, recv_id, 100 + recv_id, 200, NOW)
    assert table.take(same) == (9, Asked(109, 200, NOW, "192.0.2.1"))
    assert table.take(same) is None
    assert len(table) == 2
    assert table._networks == {"192.0.2.1": 1, "192.0.2.2": 1}


def test_one_network_has_no_more_than_its_share() -> None:
    table = HalfOpen(10, 3)
    assert [table.add(("192.0.2.1", port), 8, 0, 0, NOW) for port in range(1, 6)] == [True] * 3 + [False] * 2
    assert table.add(("192.0.2.2", 1), 8, 0, 0, NOW)
    table.remove(("192.0.2.1", 1), 8)
    assert table.add(("192.0.2.1", 4), 8, 0, 0, NOW), "a place was freed"


def test_the_oldest_one_goes_where_all_are_taken() -> None:
    table = HalfOpen(3, 3)
    for host in range(5):
        assert table.add((f"192.0.2.{host}", 7), 8, 0, 0, NOW)
    assert len(table) == 3
    assert [table.get((f"192.0.2.{host}", 7), 8) is not None for host in range(5)] == [False, False, True, True, True]


def test_they_go_after_their_time() -> None:
    table = HalfOpen(10, 10)
    table.add(("192.0.2.1", 7), 8, 0, 0, NOW)
    table.add(("192.0.2.2", 7), 8, 0, 0, NOW + 1)
    table.expire(NOW + HALF_OPEN_SECONDS - 0.01)
    assert len(table) == 2
    table.expire(NOW + HALF_OPEN_SECONDS)
    assert table.take(("192.0.2.1", 7)) is None
    assert len(table) == 1
    table.add(("192.0.2.3", 7), 8, 0, 0, NOW + HALF_OPEN_SECONDS + 1)
    assert len(table) == 1, "who comes later sees to it as well"


KEYS = st.tuples(st.sampled_from([(f"10.0.0.{host}", port) for host in range(5) for port in (1, 2)]), st.integers(0, 3))


@given(
    steps=st.lists(st.tuples(KEYS, st.booleans(), st.floats(0, 4))),
    most=st.integers(1, 6),
    per_network=st.integers(1, 4),
)
def test_the_bounds_hold_whatever_happens(
    steps: list[tuple[tuple[Address, int], bool, float]], most: int, per_network: int
) -> None:
    table, model, now = HalfOpen(most, per_network), dict[tuple[Address, int], float](), 0.0
    for key, adds, pause in steps:
        now += pause
        if not adds:
            table.remove(*key)
            model.pop(key, None)
        elif table.get(*key) is None:
            model = {each: at for each, at in model.items() if now - at < HALF_OPEN_SECONDS}
            welcome = sum(each[0][0] == key[0][0] for each in model) < per_network
            assert table.add(*key, 1, 2, now) is welcome
            if welcome:
                if len(model) == most:
                    del model[next(iter(model))]
                model[key] = now
        assert list(table._asked) == list(model)
        assert sum(table._networks.values()) == len(table) <= most
        assert all(0 < count <= per_network for count in table._networks.values())
