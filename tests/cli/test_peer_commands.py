import pytest

from crust.cli import peer_commands as pc
from crust.cli.peer_commands import BadCommand, parse
from crust.endpoint import Endpoint
from crust.identity import PeerId
from crust.nat.connection_info import Candidate, CandidateKind, ConnectionInfo

INFO = ConnectionInfo(
    PeerId(bytes(range(32))), (Candidate(CandidateKind.HOST, Endpoint.tcp("192.0.2.7:5483")),), nonce=bytes(16)
)


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("send 1 hello", pc.Send("1", "hello")),
        ("send 1  two  spaces kept ", pc.Send("1", " two  spaces kept ")),
        ("send-all good night\n", pc.SendAll("good night")),
        ("SEND-ALL hi", pc.SendAll("hi")),
        ("connect 192.0.2.7:5483", pc.Connect((Endpoint.tcp("192.0.2.7:5483"),))),
        ("connect [::1]:1 host:2", pc.Connect((Endpoint.tcp("[::1]:1"), Endpoint.tcp("host:2")))),
        ("drop 3fa2b1", pc.Drop("3fa2b1")),
        ("punch 3fa2b1c0", pc.Punch("3fa2b1c0")),
        ("info", pc.Info()),
        (f"connect-info {INFO.encode()}", pc.ConnectInfo(INFO)),
        (f"connect-info {INFO.encode()[:40]} {INFO.encode()[40:]}", pc.ConnectInfo(INFO)),
        ("nat", pc.Nat()),
        ("blacklist 1 192.0.2.0/24", pc.Blacklist(("1", "192.0.2.0/24"))),
        ("unblacklist 192.0.2.0/24", pc.Unblacklist(("192.0.2.0/24",))),
        ("blacklisted", pc.Blacklist(None)),
        ("only 1 192.0.2.0/24", pc.Only(("1", "192.0.2.0/24"))),
        ("only Off", pc.Only(())),
        ("only", pc.Only(None)),
        ("list", pc.ListPeers()),
        ("  list  ", pc.ListPeers()),
        ("whoami", pc.WhoAmI()),
        ("status", pc.Status()),
        ("traffic on", pc.Traffic(True)),
        ("traffic OFF", pc.Traffic(False)),
        ("traffic", pc.Traffic(None)),
        ("help", pc.Help(None)),
        ("help quit", pc.Help("stop")),
        ("?", pc.Help(None)),
        ("stop", pc.Stop()),
        ("quit", pc.Stop()),
        ("exit\r\n", pc.Stop()),
        ("", None),
        ("   \n", None),
        ("# a comment", None),
    ],
)
def test_lines_are_read_as_commands(line: str, command: pc.Command | None) -> None:
    assert parse(line) == command


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("conect 1", "did you mean 'connect'?"),
        ("sendall x", "did you mean 'send-all'?"),
        ("qiut", "did you mean 'quit'?"),
        ("zzzzzz", "help lists them"),
        ("send 1", "send PEER TEXT"),
        ("send", "send PEER TEXT"),
        ("send-all", "send-all TEXT"),
        ("connect", "connect ADDRESS"),
        ("connect 192.0.2.7", "HOST:PORT"),
        ("drop", "drop PEER"),
        ("drop 1 2", "drop PEER"),
        ("list all", "nothing after it"),
        ("blacklist", "blacklist ENTRY"),
        ("unblacklist", "unblacklist ENTRY"),
        ("blacklisted 1", "nothing after it"),
        ("status now", "nothing after it"),
        ("traffic maybe", "traffic on"),
        ("help me", "there is no command 'me'"),
        ("punch", "punch PEER-ID"),
        ("punch 3fa2 b1c0", "punch PEER-ID"),
        ("info 1", "nothing after it"),
        ("nat now", "nothing after it"),
        ("connect-info", "what info shows at the peer"),
        ("connect-info hello", "copy the whole line, which begins with crust-info:"),
        (f"connect-info {INFO.encode()[:-3]}", "incomplete or damaged"),
        (INFO.encode(), "type connect-info before it"),
    ],
)
def test_wrong_lines_say_what_to_type_instead(line: str, told: str) -> None:
    with pytest.raises(BadCommand) as caught:
        parse(line)
    assert told in str(caught.value)


def test_help_lists_every_command_and_explains_each() -> None:
    listed = "\n".join(pc.help_lines(None))
    for name, spec in pc.SPECS.items():
        assert spec.usage in listed
        assert spec.text in "\n".join(pc.help_lines(name))
    assert "also: quit, exit" in "\n".join(pc.help_lines("stop"))
    assert pc.PEER_HELP in "\n".join(pc.help_lines("drop"))


def test_every_alias_stands_for_a_command() -> None:
    assert set(pc.ALIASES.values()) <= set(pc.SPECS)
