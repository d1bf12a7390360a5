"""The dissector's script as text: it says of the protocol what the code and the documentation say. What it does is in
`tests/dissector`."""

import re
from pathlib import Path

import pytest

import crust
from crust import dissector
from crust.discovery import beacon_packet
from crust.transport import framing, tracer_hello
from crust.transport.relay import carried
from tests.documents import rows, section, text_of

SCRIPT = dissector.source()
FOLDER = Path(crust.__file__).parent / "dissector"
PROTOCOL = text_of("docs/protocol.md")


def lua(name: str) -> int:
    """The number that a name has in the script."""
    return int(re.search(rf"^local {name} = (0x[0-9A-F]+|\d+)$", SCRIPT, re.MULTILINE)[1], 0)  # type: ignore[index]


def layouts(text: str) -> list[str]:
    """The lines of a layout drawing, without what stands before them and between their parts."""
    found = (re.sub(r"\s+", " ", re.sub(r"^(--)?\s+", "", line)).strip() for line in text.splitlines())
    return [line for line in found if line.strip("-")]


def drawing(text: str, first: str, last: str) -> list[str]:
    """The lines from the one that begins with ``first`` to the one that begins with ``last``."""
    lines = layouts(text)
    begin = next(number for number, line in enumerate(lines) if line.startswith(first))
    end = next(number for number, line in enumerate(lines) if number >= begin and line.startswith(last))
    return lines[begin : end + 1]


def test_every_part_is_in_the_script() -> None:
    assert sorted(dissector.PARTS) == sorted(file.stem for file in FOLDER.glob("*.lua"))
    for name in dissector.PARTS:
        assert (FOLDER / f"{name}.lua").read_text("utf-8") in SCRIPT
    assert SCRIPT.startswith(dissector.FIRST_LINE)


@pytest.mark.parametrize("name", dissector.PARTS)
def test_a_part_fits_in_a_head(name: str) -> None:
    lines = (FOLDER / f"{name}.lua").read_text("utf-8").splitlines()
    assert len(lines) <= 300


def test_it_names_nothing_of_this_machine() -> None:
    assert not re.search(r"(?<![\w.])/(?:home|root|tmp|work|usr)\b", SCRIPT)


# --- the same layouts in the script, beside the structs, and in the documentation -------------------------------------


def test_the_layout_of_frames_is_quoted() -> None:
    own = drawing(framing.__doc__ or "", "byte 0 1..3", "RELAY")
    assert len(own) > 10
    assert drawing(SCRIPT, "byte 0 1..3", "RELAY") == own


def test_the_layout_of_the_beginning_is_quoted() -> None:
    own = drawing(tracer_hello.__doc__ or "", "magic 16 bytes", "READY")
    assert drawing(SCRIPT, "magic 16 bytes", "READY") == own


def test_the_layout_of_the_beacon_is_quoted() -> None:
    own = drawing(beacon_packet.__doc__ or "", "datagram = nonce", "|| spare")
    assert drawing(SCRIPT, "datagram = nonce", "|| spare") == own


def test_the_types_of_frames_are_the_same_everywhere() -> None:
    listed = {
        name: int(value, 16) for value, name in re.findall(r'^  \[(0x\w\w)\] = "([A-Z]+)",$', SCRIPT, re.MULTILINE)
    }
    tables = rows(section("docs/protocol.md", "4 Frames")), rows(section("docs/protocol.md", "7 Tracer"))
    documented = {row[1]: int(row[0], 16) for table in tables for row in table if row[0].startswith("0x")}
    assert listed == documented
    for name, value in listed.items():
        assert value == getattr(framing, name, getattr(tracer_hello, name, None)), name
    kinds = {kind.name: kind.value for kind in beacon_packet.Kind}
    shown = re.search(r'"crust.beacon.kind".*?\{(.*?)\}', SCRIPT, re.DOTALL)
    assert shown is not None
    assert {name: int(value) for value, name in re.findall(r'\[(\d)\] = "([A-Z]+)"', shown[1])} == kinds


@pytest.mark.parametrize("frame", ["MESSAGES", "FIRST", "CARRIED", "CREDIT"])
def test_the_numbers_in_a_frame_have_the_same_sizes_everywhere(frame: str) -> None:
    documented = re.search(rf"^\| 0x\w\w \| {frame} \|(.*)", PROTOCOL, re.MULTILINE)
    quoted = re.search(rf"{frame} +0x\w\w +(.*)", framing.__doc__ or "")
    assert documented is not None
    assert quoted is not None
    sizes = re.findall(r"\bu\d+\b", documented[1])
    assert sizes
    assert re.findall(r"\bu\d+\b", quoted[1]) == sizes


def test_the_limits_are_those_of_the_code() -> None:
    for name in ("FRAGMENT_SIZE", "MAX_BATCH", "MAX_CONTROL", "MAX_FRAME", "LAST_CONTROL"):
        assert lua(name) == getattr(framing, name), name
    assert (lua("HEADER_SIZE"), lua("FIRST_CONTROL")) == (framing.HEADER.size, framing.PING)
    assert lua("MAX_DEPTH") == framing._MAX_DEPTH
    assert lua("MAX_CARRIED") == carried.MAX_CARRIED
    assert lua("NONCE_SIZE") + lua("BODY_SIZE") + lua("TAG_SIZE") == beacon_packet.DATAGRAM_SIZE
    assert (lua("NONCE_SIZE"), lua("BODY_SIZE")) == (beacon_packet.NONCE_SIZE, beacon_packet._BODY.size)


def test_the_body_of_a_beacon_is_cut_at_the_same_places() -> None:
    cuts = [(int(at), int(size)) for at, size in re.findall(r"\{ f\.beacon_\w+, (\d+), (\d+) \}", SCRIPT)]
    assert [at for at, _ in cuts] + [lua("SPARE_FROM")] == [0, *(at + size for at, size in cuts)]
    documented = rows(section("docs/discovery.md", "The datagram"))
    first = [int(row[0].partition("-")[0]) for row in documented if re.fullmatch(r"\d+(-\d+)?", row[0])]
    assert [at for at, _ in cuts] + [lua("SPARE_FROM")] == first[2:]


def test_the_magic_is_the_same_everywhere() -> None:
    written = re.search(r'^local MAGIC = "(.*)"$', SCRIPT, re.MULTILINE)
    assert written is not None
    escapes = {r"\r": b"\r", r"\n": b"\n", r"\26": b"\x1a", r"\0": b"\0"}
    parts = re.split(r"(\\(?:r|n|26|0))", written[1])
    assert b"".join(escapes.get(part, part.encode()) for part in parts) == tracer_hello.MAGIC
    assert f"`{tracer_hello.MAGIC.hex()}`" in PROTOCOL


def test_every_key_of_a_control_frame_is_read() -> None:
    hello = [row[0].strip("`") for row in rows(section("docs/protocol.md", "7 Tracer")) if row[0].startswith("`")]
    assert {"version", "network", "peer", "session", "capabilities", "agent"} == set(hello)
    others = "t serial alone reason text x sums in have full records want"
    reach = "seen ask at due bytes paid told results to from step meeting info took open accepted refused abort credit"
    for key in [*hello, *others.split(), *reach.split()]:
        assert re.search(rf'[, ]"{key}"[,)]|members\.{key}\b|"{key}" \}}', SCRIPT), key
