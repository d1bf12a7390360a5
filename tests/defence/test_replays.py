"""`crust.defence.replays`: what was seen is known again, and no more of it is kept than the bound."""

from crust.defence.replays import ReplayFilter


def test_a_token_is_a_replay_the_second_time() -> None:
    seen = ReplayFilter()
    assert [seen(b"a"), seen(b"b"), seen(b"a"), seen(b"b"), seen(b"c")] == [False, False, True, True, False]


def test_the_oldest_tokens_are_forgotten() -> None:
    seen = ReplayFilter(limit=3)
    assert not any(seen(b"%d" % number) for number in range(1000))
    assert len(seen._seen) == 3
    assert [seen(b"%d" % number) for number in (997, 998, 999)] == [True] * 3
    assert not seen(b"996")
