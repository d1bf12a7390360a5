"""A few seconds of fuzzing, and whether the fuzzer would notice."""

import os

import pytest

from crust.errors import Malformed
from tests.fuzz import fuzz_parsers
from tests.fuzz.fuzz_parsers import ALL, fuzz, main
from tests.fuzz.parsers import Parser


def test_the_valid_inputs_are_fine() -> None:
    for parser in ALL:
        for seed in parser.seeds:
            parser.check(seed)


def test_nothing_is_found_in_a_few_seconds() -> None:
    counts, found = fuzz(3.0, seed=1)
    assert found is None, found
    assert all(counts.values()), counts


@pytest.mark.slow
def test_nothing_is_found_in_a_quarter_of_a_minute() -> None:
    seed = int.from_bytes(os.urandom(4))
    _, found = fuzz(15.0, seed)
    assert found is None, f"seed {seed}: {found}"


def _broken(data: bytes) -> None:
    """Documented is Malformed; a 0xff in the wrong place gives something else."""
    try:
        if data[:1] == b"\xff":
            raise Malformed("caught below")
        data.decode("ascii")
    except Malformed:
        pass


def test_a_broken_parser_is_found_and_the_input_shows_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Parser("broken", [b"valid input"], _broken)
    monkeypatch.setattr(fuzz_parsers, "ALL", [broken])
    said: list[str] = []
    assert main(["--seconds", "20", "--parser", "broken"], said.append) == 1
    assert "UnicodeDecodeError" in said[-1]
    counts, found = fuzz(20.0, 1, [broken])
    assert found is not None
    assert "UnicodeDecodeError" in found
    bad = found.rsplit("'", 2)[1]
    with pytest.raises(UnicodeDecodeError):
        _broken(bytes.fromhex(bad))
    assert main(["--parser", "broken", "--input", bad], said.append) == 1
    assert bad in said[-1]
    assert fuzz(20.0, 1, [broken]) == (counts, found), "the same seed gives the same inputs"


def test_the_command() -> None:
    said: list[str] = []
    assert main(["--seconds", "0", "--parser", "endpoint"], said.append) == 0
    assert said[0].startswith("endpoint")
    assert said[-1] == "nothing found\n"
    with pytest.raises(SystemExit):
        main(["--input", "00"])
