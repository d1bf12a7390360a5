"""The page about uTP says what its code does; its pictures show the table of states, the header, and a run."""

import csv
import importlib
import re
from types import ModuleType

import pytest

from benches import utp_run
from crust.transport.utp import constants
from crust.transport.utp.connection import UtpConnection
from crust.transport.utp.multiplexer import Multiplexer
from crust.transport.utp.packet import HEADER_SIZE, VERSION, Extension, Packet, PacketType, decode, encode
from crust.transport.utp.padding import PADDING_KIND
from crust.transport.utp.settings import UtpSettings
from crust.transport.utp.states import TRANSITIONS, Happening, State
from tests.documents import Block, blocks, rows, section, text_of
from tests.source_tree import ROOT, modules

PAGE = "docs/utp.md"
EXAMPLES = [
    (block, following)
    for block, following in zip(blocks(PAGE), blocks(PAGE)[1:], strict=False)
    if (block.language, following.language) == ("python", "text")
]
CONSTANTS = [row for row in rows(section(PAGE, "Every constant")) if row[0].startswith("`") and len(row) == 5]


def drawing(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script of a picture."""
    monkeypatch.syspath_prepend(str(ROOT / "img"))
    return importlib.import_module(name)


# --- examples -----------------------------------------------------------------------------------------


def test_every_example_shows_its_output() -> None:
    assert len(EXAMPLES) == len([block for block in blocks(PAGE) if block.language == "python"]) == 3


@pytest.mark.parametrize(("block", "output"), EXAMPLES, ids=lambda block: str(block.line))
def test_an_example_prints_what_stands_below_it(
    block: Block, output: Block, capsys: pytest.CaptureFixture[str]
) -> None:
    exec(compile(block.text, str(block), "exec"), {})  # noqa: S102
    assert capsys.readouterr().out == output.text


# --- the conversation ---------------------------------------------------------------------------------


class Dice:
    """Gives the numbers of the page."""

    def __init__(self, *numbers: int) -> None:
        self._numbers = list(numbers)

    def getrandbits(self, k: int, /) -> int:
        return self._numbers.pop(0) if k == 16 else 0


class Conversation:
    """Two ends, and what they say to each other, in the form of the page."""

    def __init__(self) -> None:
        self.dialler = Multiplexer(rng=Dice(17767, 100))
        self.acceptor = Multiplexer(rng=Dice())
        self.acceptor._strangers._number = lambda *_: 7000  # type: ignore[method-assign]
        self.acceptor.accepting = True
        self.said: list[str] = []

    def run(self) -> None:
        """Carry packets until both are silent."""
        while self._carry(self.dialler, self.acceptor) or self._carry(self.acceptor, self.dialler):
            pass

    def _carry(self, source: Multiplexer, target: Multiplexer) -> bool:
        burst = source.next_burst(1.0)
        if burst is None:
            return False
        source.sent(burst, burst.count, 1.0)
        data = b"".join(burst.buffers)
        packet = decode(data)
        name = PacketType(packet.type).name
        text = f"{name:<5} id={packet.connection_id} seq={packet.seq_nr} ack={packet.ack_nr}"
        self.said.append(f"{text:<36} ->" if source is self.dialler else " " * 37 + f"<-  {text}")
        target.receive(data, ("192.0.2.1", 1), len(data), 1.0)
        return True

    def tell(self, end: Multiplexer, connection: UtpConnection, data: bytes) -> None:
        """One end writes, or finishes when there is nothing to write."""
        if data:
            connection.write(data)
        else:
            connection.finish()
        end.wake(connection, 1.0)


def test_a_connection_in_packets() -> None:
    talk = Conversation()
    ours = talk.dialler.connect(("192.0.2.1", 1), 1.0)
    talk.run()
    theirs = talk.acceptor.accepted[0]
    talk.tell(talk.dialler, ours, b"hello")
    talk._carry(talk.dialler, talk.acceptor)
    talk.tell(talk.acceptor, theirs, b"hello yourself")
    talk._carry(talk.acceptor, talk.dialler)
    talk.tell(talk.dialler, ours, b"")
    talk._carry(talk.dialler, talk.acceptor)
    talk.tell(talk.acceptor, theirs, b"")
    talk.run()
    (block,) = [block for block in blocks(PAGE) if block.language == "conversation"]
    assert block.text.splitlines()[1:] == talk.said
    assert theirs.delivered
    assert ours.delivered


# --- layouts ------------------------------------------------------------------------------------------


def test_the_picture_of_the_header(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = drawing("utp_packet", monkeypatch).FIELDS
    names = Packet._fields[:7]
    assert [name for name, _, _ in fields] == ["type", "version", "extension", *names[1:]]
    total, at = 8 * HEADER_SIZE, 0
    nothing = int.from_bytes(encode(Packet(0, 0, 0, 0, 0, 0, 0)))
    for name, bits, meaning in fields:
        at += bits
        if name in names:
            most = (1 << bits) - 1
            packet = Packet(0, 0, 0, 0, 0, 0, 0)._replace(**{name: most})
            changed = int.from_bytes(encode(packet)) ^ nothing
            assert changed == most << (total - at), name
        elif name == "version":
            assert nothing == int(meaning) << (total - at) == VERSION << (total - at)
    assert at == total


def test_types_and_extensions() -> None:
    listed = {row[0]: row[1] for row in rows(section(PAGE, "Layouts")) if row[0] not in ("type", "kind")}
    for name, kind in (*PacketType.__members__.items(), *Extension.__members__.items()):
        of_kind = [row for row in rows(section(PAGE, "Layouts")) if row[1] == name]
        assert [row[0] for row in of_kind] == [str(int(kind))], name
    assert listed[f"{PADDING_KIND:#x}"] == "padding"


# --- states -------------------------------------------------------------------------------------------


def test_every_happening_is_explained() -> None:
    listed = [row[0] for row in rows(section(PAGE, "States"))][1:]
    assert listed == list(Happening.__members__)


def test_the_picture_shows_every_state_and_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    script = drawing("utp_states", monkeypatch)
    words = re.findall(r">([^<>]+)</text>", script.draw())
    for state in State:
        assert words.count(state.name) == 1
    steps = [happening.name for exits in TRANSITIONS.values() for happening in exits if happening.name != "FAILURE"]
    drawn = [word for word in words if word in Happening.__members__]
    assert sorted(drawn) == sorted([*steps, "FAILURE"])


def test_the_picture_follows_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    script = drawing("utp_states", monkeypatch)
    smaller = {state: dict(exits) for state, exits in TRANSITIONS.items()}
    del smaller[State.FIN_SENT][Happening.THEIR_FIN], smaller[State.LINGER][Happening.FAILURE]
    before = script.draw()
    monkeypatch.setattr(script, "TRANSITIONS", smaller)
    after = script.draw()
    assert after.count("<path") == before.count("<path") - 1
    assert "any but LINGER" in after


# --- constants ----------------------------------------------------------------------------------------


def test_every_constant_is_on_the_page() -> None:
    """Their values are compared by test_docs_numbers.py, like all numbers of the documentation."""
    assert sorted(row[0].strip("`") for row in CONSTANTS) == sorted(name for name in vars(constants) if name.isupper())


@pytest.mark.parametrize("row", CONSTANTS, ids=lambda row: row[0].strip("`"))
def test_a_constant_has_its_setting_and_a_source(row: list[str]) -> None:
    name, _value, setting, what, source = row
    value = getattr(constants, name.strip("`"))
    assert what
    assert source
    fields = {field: getattr(UtpSettings(), field) for field in UtpSettings.__dataclass_fields__}
    if setting:
        assert fields[setting.strip("`")] in (value, None)
    else:
        assert name.strip("`").lower() not in fields


def test_every_setting_is_on_the_page() -> None:
    assert {row[2].strip("`") for row in CONSTANTS} - {""} == set(UtpSettings.__dataclass_fields__)


def test_constants_of_other_files_are_there() -> None:
    others = [row for row in rows(section(PAGE, "Every constant")) if row[0].startswith("`") and len(row) == 4]
    assert len(others) > 4
    for name, _value, where, _what in others:
        module = f"transport.utp.{where.strip('`').removesuffix('.py')}"
        assert module in modules()
        assert hasattr(importlib.import_module(f"crust.{module}"), name.strip("`"))


# --- figures ------------------------------------------------------------------------------------------


def test_there_is_a_place_for_the_figures() -> None:
    for name in ("congestion", "speed"):
        place = rf"^<!-- {name}:begin -->\n(.*\n)*?<!-- {name}:end -->$"
        assert len(re.findall(place, text_of(PAGE), re.MULTILINE)) == 1


def test_the_picture_of_a_run_is_drawn_from_what_the_measurement_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    script = drawing("utp_run", monkeypatch)
    with script.RUN.open(encoding="utf-8", newline="") as file:
        assert tuple(next(csv.reader(file))) == utp_run.COLUMNS
    run = script.load()
    assert run[-1]["seconds"] == pytest.approx(utp_run.SECONDS - utp_run.STEP)
    assert {line.column for panel in script.PANELS for line in panel.lines} < set(utp_run.COLUMNS)


def test_the_measurement_says_what_a_machine_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(utp_run, "missing", lambda: "no")
    assert utp_run.main(["nowhere.csv"]) == 1
