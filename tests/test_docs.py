"""The documentation says what is so: its code runs, its links lead somewhere, its pictures are up to date."""

import queue
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import crust
from crust import Config, ConnectionManager, Endpoint, Event, Identity
from crust.cli import COMMANDS
from tests.documents import DOCUMENTS, Block, anchors, blocks, links, name_of, prose, section, text_of
from tests.source_tree import ROOT, modules

NAMES = [name_of(file) for file in DOCUMENTS]
PYTHON = [block for name in NAMES for block in blocks(name) if block.language == "python"]
LOCAL = Config(listen_addresses=("127.0.0.1",))
PATIENCE = 30.0  # seconds


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_code_compiles(block: Block) -> None:
    compile(block.text, str(block), "exec")


@pytest.mark.parametrize("block", [block for block in PYTHON if block.file != "README.md"], ids=str)
def test_python_code_runs(block: Block) -> None:
    """Statements run; what is inside functions and classes is only defined (some of it is tested below)."""
    code = block.text.replace("tcp_port=5483", 'tcp_port=0, listen_addresses=("127.0.0.1",)')
    exec(compile(code, str(block), "exec"), {})  # noqa: S102


def defined(name: str, file: str = "docs/porting.md") -> object:
    """A function or class that a block of a document defines."""
    for block in blocks(file):
        if re.search(rf"^(def|class) {name}\b", block.text, re.MULTILINE):
            namespace: dict[str, object] = {}
            exec(compile(block.text, str(block), "exec"), namespace)  # noqa: S102
            return namespace[name]
    raise LookupError(f"{file} defines no {name}")


@pytest.fixture
def answering() -> Iterator[tuple[Endpoint, list[bytes]]]:
    """A peer that answers a message and says goodbye: where it is, and what it got."""
    events = crust.channel()
    got: list[bytes] = []

    def answer() -> None:
        for event in events:
            if isinstance(event, Event.NewMessage):
                got.append(event.data)
                peer.send(event.endpoint, b"hello yourself")
                peer.drop_node(event.endpoint)

    with ConnectionManager(events, LOCAL) as peer:
        thread = threading.Thread(target=answer, name="test-answer")
        thread.start()
        yield Endpoint.tcp(("127.0.0.1", peer.start_listening()[0].port)), got
    thread.join(PATIENCE)


def test_the_example_of_the_readme(answering: tuple[Endpoint, list[bytes]], capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = [block for block in blocks("README.md") if block.language == "python"]
    assert block.text.count("\n") == 15, "it is called an example of 15 lines"
    endpoint, got = answering
    code = block.text.replace("192.0.2.7:5483", f"127.0.0.1:{endpoint.port}")
    assert code != block.text
    exec(compile(code, str(block), "exec"), {})  # noqa: S102
    assert got == [b"hello"]
    assert capsys.readouterr().out == f"{endpoint} b'hello yourself'\n"


def test_the_example_of_joining(answering: tuple[Endpoint, list[bytes]]) -> None:
    endpoint, got = answering
    manager, events = defined("join")(endpoint)  # type: ignore[operator]
    with manager:
        assert events.get(timeout=PATIENCE) == Event.NewMessage(endpoint, b"hello yourself")
    assert got == [b"hello"]


def test_the_examples_of_tokens_and_ids(answering: tuple[Endpoint, list[bytes]]) -> None:
    endpoint, got = answering
    events = crust.channel()
    with ConnectionManager(events, LOCAL) as manager:
        tokens, peers = defined("Tokens")(manager), defined("Peers")(manager)  # type: ignore[operator]
        nobody = Endpoint.parse("tcp://127.0.0.1:0")
        tokens.connect("nobody", [nobody])
        assert tokens.finished(events.get(timeout=PATIENCE)) == "nobody"
        tokens.connect("peer", [endpoint])
        connected = events.get(timeout=PATIENCE)
        assert tokens.finished(connected) == "peer"
        assert tokens.waiting == {}
        peers.handle(connected)
        peers.send(connected.peer_id, b"by id")
        assert tokens.finished(events.get(timeout=PATIENCE)) is None
        assert peers.is_connected(connected.peer_id)
        peers.handle(events.get(timeout=PATIENCE))
        assert not peers.is_connected(connected.peer_id)
    assert got == [b"by id"]


def test_the_examples_of_meeting() -> None:
    """Two people bring each other their lines; then one looks for somebody whom nobody knows."""
    lines: dict[str, queue.SimpleQueue[str]] = {"one": queue.SimpleQueue(), "other": queue.SimpleQueue()}
    met: dict[str, object] = {}

    def meet(name: str, other: str) -> None:
        events = crust.channel()
        with ConnectionManager(events, LOCAL) as manager:
            manager.start_listening()

            def carry(line: str) -> str:
                lines[other].put(line)
                return lines[name].get(timeout=PATIENCE)

            met[name] = defined("meet", "docs/nat.md")(manager, events, carry)  # type: ignore[operator]
            lines[other].put("done")
            lines[name].get(timeout=PATIENCE)
            nobody = Identity().peer_id
            assert defined("reach", "docs/nat.md")(manager, events, nobody) is None  # type: ignore[operator]

    threads = [
        threading.Thread(target=meet, args=pair, name="test-meet") for pair in (("one", "other"), ("other", "one"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert set(met) == {"one", "other"}
    assert None not in met.values()


def test_the_example_of_an_event_loop_ends(capsys: pytest.CaptureFixture[str]) -> None:
    events = crust.channel()
    ConnectionManager(events).stop()
    defined("loop")(events)  # type: ignore[operator]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    for link in links(name):
        path, _, anchor = link.partition("#")
        if "://" in path:
            continue
        target = (ROOT / name).parent / path if path else ROOT / name
        assert target.exists(), f"{name}: {link}"
        if anchor:
            assert anchor in anchors(name_of(target.resolve())), f"{name}: {link}"


@pytest.mark.parametrize("name", NAMES)
def test_files_that_are_named_exist(name: str) -> None:
    sources = {file.name for file in modules().values()}
    for path in re.findall(r"`([\w/]+\.(?:py|svg))`", prose(name)):
        here = ((ROOT / name).parent / path).exists()
        assert here or (ROOT / path).exists() or path in sources, f"{name}: {path}"


def test_every_page_is_in_the_index() -> None:
    listed = set(links("README.md"))
    assert {f"docs/{file.name}" for file in (ROOT / "docs").glob("*.md")} <= listed


def test_calls_and_events_that_are_named_exist() -> None:
    known = set(dir(Event)) | set(dir(ConnectionManager))
    for name in ("README.md", "docs/porting.md", "docs/threads.md", "docs/nat.md", "docs/configuration.md"):
        python = "\n".join(block.text for block in blocks(name) if block.language == "python")
        text = python + re.sub(r"^\|[^|]*\|", "|", prose(name), flags=re.MULTILINE)  # first columns have Rust names
        for found in re.findall(r"\bEvent\.(\w+)|\bmanager\.(\w+)\(", text):
            assert "".join(found) in known, f"{name}: {''.join(found)}"


def test_commands_that_are_named_exist() -> None:
    for name in ("README.md", "docs/configuration.md", "docs/threads.md"):
        for command in re.findall(r"(?:`|\$ )crust (\w+)", text_of(name)):
            assert command in COMMANDS, f"{name}: crust {command}"


def test_make_targets_and_modules_that_are_named_exist() -> None:
    makefile = text_of("Makefile")
    for name in ("README.md", "docs/porting.md"):
        for target in re.findall(r"(?:^ {4}|`)make (\w+)", text_of(name), re.MULTILINE):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{name}: make {target}"
        for module in re.findall(r"-m (benches\.\w+)", text_of(name)):
            assert (ROOT / f"{module.replace('.', '/')}.py").exists(), f"{name}: {module}"


def test_there_is_a_place_for_the_figures() -> None:
    text = section("README.md", "Figures")
    for name in ("figures", "connections"):
        place = rf"^<!-- {name}:begin -->\n.*?^<!-- {name}:end -->$"
        assert len(re.findall(place, text, re.MULTILINE | re.DOTALL)) == 1


def test_pictures_are_what_their_scripts_draw(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "img/make_pictures.py", str(tmp_path)], cwd=ROOT, check=True, capture_output=True)
    drawn = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert drawn
    for name, content in drawn.items():
        assert (ROOT / "img" / name).read_bytes() == content, f"img/{name} is not up to date: make docs"
    made_elsewhere = {"throughput.png"}  # by python -m benches.compare --plot
    pictures = {file.name for file in (ROOT / "img").iterdir() if file.suffix in (".svg", ".png")}
    assert pictures - made_elsewhere == set(drawn), "every picture has a script"
