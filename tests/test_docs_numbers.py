"""Numbers, settings, frames, threads and states in the documentation are those of the code."""

import ast
import dataclasses
import importlib
import re
from typing import Any

import pytest

import crust
from crust import Config, ConfigError, limits
from crust.settings.checks import Invalid, check
from crust.transport import framing
from crust.transport.utp import constants as utp_constants
from tests.documents import DOCUMENTS, NUMBER, blocks, name_of, number, prose, rows, section, text_of
from tests.source_tree import ROOT, modules, tree

NAMES = [name_of(file) for file in DOCUMENTS]
DEFAULTS = {field.name: field.default for field in dataclasses.fields(Config)}
CONFIGURATION = "docs/configuration.md"
UTP = "docs/utp.md"
ENVIRONMENT = {"NO_COLOR", "CRUST_NETWORK_KEY", "CRUST_ISOLATED", "CRUST_CONFIG", "CRUST_CAPTURE"}
LIMITS = section("docs/protocol.md", "6 Timeouts and limits")


def constants(name: str, document: str) -> set[Any]:
    """The values that a name has in the modules that a document is about, or else in the others of the library."""
    if document == UTP and hasattr(utp_constants, name):
        return {getattr(utp_constants, name)}
    library = [module for module in modules() if not module.startswith(("cli", "_"))]
    for wanted in (document == UTP, document != UTP):
        own = [f"crust.{module}" for module in library if module.startswith("transport.utp") is wanted]
        found = [vars(importlib.import_module(module)).get(name) for module in own]
        values = {value for value in found if isinstance(value, int | float)}
        if values:
            return values
    return set()


# --- limits -------------------------------------------------------------------------------------------


def quoted() -> list[tuple[str, str, str]]:
    """Every place that gives a constant or a setting with its value: document, name, value."""
    found = []
    for name in NAMES:
        for row in rows(text_of(name)):
            cell = re.fullmatch(r"`([A-Z][A-Z_]+)`", row[0])
            if cell and re.fullmatch(rf"({NUMBER})( \w+)?", row[1]):
                found.append((name, cell[1], row[1]))
        inline = re.compile(rf"({NUMBER}(?: (?:[KMG]iB|bytes|s|seconds)\b)?)(?: [a-z]+){{0,3}}(?:, | \()`(\w+)`")
        found += [(name, match[2], match[1]) for match in inline.finditer(" ".join(prose(name).split()))]
    return found


@pytest.mark.parametrize(("document", "name", "value"), quoted())
def test_a_quoted_number_is_that_of_the_code(document: str, name: str, value: str) -> None:
    real = {DEFAULTS[name]} if name in DEFAULTS else constants(name, document)
    assert real == {number(value)}, f"{document} says {value} of {name}"


def test_enough_is_quoted_in_running_text() -> None:
    """If the pattern above stops to match, nothing is tested any more."""
    assert len([name for document, name, _ in quoted() if f"| `{name}` |" not in text_of(document)]) > 12


def test_constants_that_are_named_exist() -> None:
    for document in NAMES:
        for name in set(re.findall(r"`([A-Z]+_[A-Z_]+)`", prose(document))) - ENVIRONMENT:
            assert constants(name, document), f"{document}: {name}"


def test_every_limit_is_in_the_protocol() -> None:
    units = {"KIB", "MIB"}
    listed = {row[0].strip("`") for row in rows(LIMITS)}
    assert {name for name in vars(limits) if name.isupper()} - units <= listed


def test_settings_stand_beside_their_constants() -> None:
    for row in rows(LIMITS):
        if row[2].startswith("`"):
            assert row[2].strip("`") == row[0].strip("`").lower()


# --- settings -----------------------------------------------------------------------------------------


def settings() -> dict[str, list[str]]:
    """The rows of the settings' tables by key."""
    found = [row for row in rows(text_of(CONFIGURATION)) if row[0] != "key"]
    assert len(found) == len({row[0] for row in found}), "a setting is documented twice"
    return {row[0].strip("`"): row[1:] for row in found}


def test_every_setting_is_documented() -> None:
    assert set(settings()) == set(DEFAULTS)


@pytest.mark.parametrize("key", DEFAULTS)
def test_the_default_of_a_setting(key: str) -> None:
    said, real = settings()[key][0], DEFAULTS[key]
    if isinstance(real, bool) or real is None:
        assert said == {True: "true", False: "false", None: "null"}[real]
    elif isinstance(real, int | float):
        assert number(said) == real
    elif isinstance(real, str):
        assert said == f"`{real}`"
    else:
        assert said == (", ".join(f"`{item}`" for item in real) or "none")


@pytest.mark.parametrize("key", DEFAULTS)
def test_the_range_of_a_setting(key: str) -> None:
    found = re.match(rf"({NUMBER}) to ({NUMBER})", settings()[key][1])
    if found is None:
        return
    low, high = (int(value) if value.is_integer() else value for value in map(number, found.groups()))
    step = low if isinstance(low, float) else 1
    as_value = (lambda size: "x" * size) if key in ("network", "network_key") else (lambda size: size)
    for inside in (low, high):
        check(key, as_value(inside))
    for outside in (low - step, high + step):
        with pytest.raises(Invalid):
            check(key, as_value(outside))
    assert ("null" in settings()[key][1]) == accepts(key, None)


def accepts(key: str, value: object) -> bool:
    try:
        check(key, value)
    except Invalid:
        return False
    return True


def test_every_setting_has_an_effect() -> None:
    """Some code beside that of the configuration itself reads it."""
    read = {
        node.attr
        for module in modules()
        if not module.startswith(("config", "settings"))
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Attribute) and node.attr in DEFAULTS and "config" in ast.unparse(node.value).lower()
    }
    assert read == set(DEFAULTS)


def test_the_examples_of_files() -> None:
    """Each block of YAML is right, or the block after it is the error that it gives."""
    found = [block for block in blocks(CONFIGURATION) if block.language in ("yaml", "text")]
    assert [block.language for block in found].count("text") >= 2
    for block, following in zip(found, [*found[1:], None], strict=True):
        if block.language == "text":
            continue
        if following is None or following.language == "yaml":
            Config.parse(block.text)
            continue
        with pytest.raises(ConfigError) as error:
            Config.parse(block.text, "node.yaml")
        assert str(error.value) == following.text.strip()


# --- the API ------------------------------------------------------------------------------------------


def test_the_variants_of_events_are_in_the_tables() -> None:
    for document in ("README.md", "docs/porting.md"):
        cells = " ".join(cell for row in rows(text_of(document)) for cell in row)
        for variant in (variant for variant in vars(crust.Event).values() if isinstance(variant, type)):
            assert f"`Event.{variant.__name__}({', '.join(variant._fields)})`" in cells, document


# --- frames -------------------------------------------------------------------------------------------

FRAMES = section("docs/protocol.md", "4 Frames")


def test_the_types_of_frames() -> None:
    listed = {row[1]: int(row[0], 16) for row in rows(FRAMES) if row[0].startswith("0x")}
    real = {name: value for name, value in vars(framing).items() if name.isupper() and type(value) is int}
    assert listed == {name: real[name] for name in listed}
    assert set(listed) == {
        "MESSAGES",
        "MESSAGE",
        "FIRST",
        "NEXT",
        "PING",
        "PONG",
        "CHOOSE",
        "CHOSEN",
        "BYE",
        "CONTACTS",
        "ADDRESS",
        "PUNCH",
        "CARRIED",
        "CREDIT",
        "RELAY",
    }


def test_the_examples_of_frames() -> None:
    first, second = re.findall(r"^(0[12] [0-9a-f ]+)$", FRAMES, re.MULTILINE)
    for example, messages in ((first, [b"hi", b"", b"you"]), (second, [b"hello"])):
        ((pieces, _, _),) = framing.encode_messages(messages)
        assert b"".join(pieces) == bytes.fromhex(example)
    assert f"`{framing.control_frame(framing.PING, {'t': 1}).hex()}`" in FRAMES.replace("10 070000 ", "10070000")


def test_the_reasons_of_a_goodbye() -> None:
    listed = {row[0] for row in rows(FRAMES) if re.fullmatch(r"`[a-z]+`", row[0])}
    sources = "".join(
        (ROOT / "crust" / name).read_text("utf-8") for name in ("links/connection.py", "connecting/choice.py")
    )
    real = set(re.findall(r'parting_word = "(\w+)"', sources))
    real |= set(re.findall(r'Verdict\.\w+: \("(\w+)"', sources))
    assert listed == {f"`{word}`" for word in real}


# --- threads ------------------------------------------------------------------------------------------


TOLD_THE_NAME = ("threads.workers", "nat.errand_thread")
"""Modules that start threads whose name somebody else gives."""


def names_made(module: str) -> set[str]:
    """The names of threads that a module makes; ``*`` for what differs each time."""
    found: set[str] = set()
    loops = [node for node in ast.walk(tree(module)) if isinstance(node, ast.For)]
    for call in (node for node in ast.walk(tree(module)) if isinstance(node, ast.Call)):
        function = ast.unparse(call.func)
        if function in ("start_thread", "self._begin_thread", "WorkerPool"):
            inside = [loop for loop in loops if loop.lineno <= call.lineno <= (loop.end_lineno or 0)]
            names = names_of(call.args[0], inside)
            found |= {f"{name}-*" for name in names} if function == "WorkerPool" else names
    return found


def names_of(argument: ast.expr, loops: list[ast.For]) -> set[str]:
    """What an argument can be: a constant, or an f-string whose names are looked up in the loops around it."""
    if isinstance(argument, ast.Constant):
        return {str(argument.value)}
    assert isinstance(argument, ast.JoinedStr), "the name of a thread is text"
    found = {""}
    for part in argument.values:
        if isinstance(part, ast.Constant):
            choices = {str(part.value)}
        else:
            assert isinstance(part, ast.FormattedValue)
            choices = values_in_loops(ast.unparse(part.value), loops) or {"*"}
        found = {name + choice for name in found for choice in choices}
    return found


def values_in_loops(name: str, loops: list[ast.For]) -> set[str]:
    """The constants that ``for name, ... in ((constant, ...), ...)`` gives a name."""
    for loop in loops:
        targets = [ast.unparse(target) for target in getattr(loop.target, "elts", [loop.target])]
        if name in targets and isinstance(loop.iter, ast.Tuple):
            place = targets.index(name)
            items = [item.elts[place] if isinstance(item, ast.Tuple) else item for item in loop.iter.elts]
            return {str(item.value) for item in items if isinstance(item, ast.Constant)}
    return set()


def test_the_threads_that_are_documented_are_those_that_the_code_makes() -> None:
    made = set().union(*(names_made(module) for module in modules() if module not in TOLD_THE_NAME))
    named = re.findall(r"^\| `crust-([^`]+)` \|", text_of("docs/threads.md"), re.MULTILINE)
    listed = {re.sub(r"\b[A-Z]+\b", "*", name) for name in named}
    assert len(made) > 8
    assert listed == made


# --- states -------------------------------------------------------------------------------------------


def test_the_states_of_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "img"))
    life = importlib.import_module("connection_life")
    table = [row for row in rows(section("docs/threads.md", "A connection's life")) if row[0] != "from"]
    assert [[cell.strip("`") for cell in row] for row in table] == [list(step) for step in life.STEPS]
    assert {step.target for step in life.STEPS} == set(life.STATES)
    for step in life.STEPS:
        room, module, *path = step.code.split(".")
        place: Any = importlib.import_module(f"crust.{room}.{module}")
        for name in path:
            assert hasattr(place, name), step.code
            place = getattr(place, name)
        assert not step.event or hasattr(crust.Event, step.event)
