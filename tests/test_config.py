"""`Config`: what each setting may be, and files that are read, refused, and written."""

import dataclasses
import os
import pickle
import stat
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crust import limits
from crust.config import Config
from crust.endpoint import Endpoint
from crust.errors import ConfigError
from crust.settings import yaml_files
from crust.settings.checks import CHECKS

KEY = b"0123456789abcdef0123456789abcdef"
FIELDS = [field.name for field in dataclasses.fields(Config)]


def error_of(**settings: object) -> str:
    with pytest.raises(ConfigError) as caught:
        Config(**settings)  # type: ignore[arg-type]
    return str(caught.value)


def parse_error(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        Config.parse(text, "app.yaml")
    return str(caught.value)


# --- values ---------------------------------------------------------------------------------------------------------


def test_the_defaults_are_those_of_the_design() -> None:
    config = Config()
    assert (config.tcp_port, config.utp_port, config.tracer_port, config.beacon_port) == (0, 0, None, 5483)
    assert (config.network, config.network_key, config.hard_coded_contacts) == ("crust", None, ())
    assert (config.override_default_bootstrap, config.identity_file, config.cache_file) == (False, None, None)
    assert (config.target_connections, config.bootstrap_cache) == (0, True)
    assert (config.stun_servers, config.upnp, config.allow_tracer, config.relay) == ((), True, False, False)
    assert config.max_message_size == limits.MAX_MESSAGE_SIZE
    assert config.listen_addresses == ("0.0.0.0", "::")


def test_every_setting_has_a_check_and_a_description() -> None:
    assert set(CHECKS) == set(FIELDS)
    source = Path(Config.parse.__func__.__code__.co_filename).read_text("utf-8")
    for name in FIELDS:
        line = next(i for i, text in enumerate(source.splitlines()) if text.startswith(f"    {name}: "))
        assert source.splitlines()[line + 1].strip().startswith('"""'), f"{name} has no docstring under it"


def test_it_never_changes() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().tcp_port = 1  # type: ignore[misc]


def test_equal_settings_are_equal_and_hash_alike() -> None:
    one, two = (
        Config(hard_coded_contacts=("192.0.2.7:5483",)),
        Config(hard_coded_contacts=[Endpoint.tcp("192.0.2.7:5483")]),
    )  # type: ignore[arg-type]
    assert one == two
    assert hash(one) == hash(two)
    assert pickle.loads(pickle.dumps(one)) == one


@pytest.mark.parametrize(
    ("key", "given_value"),
    [
        ("tcp_port", 65536),
        ("tcp_port", -1),
        ("tcp_port", True),
        ("tcp_port", "5483"),
        ("utp_port", 1.0),
        ("tracer_port", 70000),
        ("beacon_port", [5483]),
        ("listen_addresses", ()),
        ("listen_addresses", "0.0.0.0"),
        ("listen_addresses", ["localhost"]),
        ("listen_addresses", [None]),
        ("network", ""),
        ("network", "a" * 256),
        ("network", "line\nfeed"),
        ("network", "\ud800"),
        ("network", None),
        ("network_key", b"short"),
        ("network_key", b"x" * 1025),
        ("network_key", 1234567890123456),
        ("network_key", "hex:zz"),
        ("network_key", "hex:0102"),
        ("network_key", "\ud800" * 16),
        ("hard_coded_contacts", "tcp://192.0.2.7:5483"),
        ("hard_coded_contacts", Endpoint.tcp("192.0.2.7:5483")),
        ("hard_coded_contacts", ["192.0.2.7"]),
        ("hard_coded_contacts", ["192.0.2.7:0"]),
        ("hard_coded_contacts", ["relayed://192.0.2.7:1"]),
        ("hard_coded_contacts", [7]),
        ("hard_coded_contacts", [f"192.0.2.7:{port}" for port in range(1, 1026)]),
        ("hard_coded_contacts", 7),
        ("override_default_bootstrap", 1),
        ("target_connections", -1),
        ("target_connections", 65537),
        ("bootstrap_cache", "yes"),
        ("identity_file", ""),
        ("identity_file", 7),
        ("cache_file", "nul\0"),
        ("cache_file", Path),
        ("blacklist_file", ["192.0.2.1"]),
        ("stun_servers", ["stun.example.org"]),
        ("stun_servers", ["udp://stun.example.org:3478"]),
        ("stun_servers", ["stun.example.org:0"]),
        ("stun_servers", [None]),
        ("upnp", "yes"),
        ("allow_tracer", None),
        ("relay", 0),
        ("relay_connections", 0),
        ("relay_connections_per_peer", 65537),
        ("relay_bytes_per_second", -1),
        ("max_message_size", 0),
        ("max_message_size", 2**31 + 1),
        ("max_message_size", 1e6),
        pytest.param("max_message_size", 10**5000, id="max_message_size-too long to print"),
        ("send_queue_bytes", 0),
        ("max_waiting_events", 0),
        ("max_waiting_bytes", -1),
        ("max_connections", 0),
        ("max_connections_per_address", 65537),
        ("max_half_open", None),
        ("max_half_open_per_address", "many"),
        ("max_dials", 0),
        ("max_bytes_per_second", -1),
        ("max_messages_per_second", None),
        ("max_records_per_second", True),
        ("max_controls_per_second", "50"),
        ("max_handshakes_per_second", 2**40 + 1),
        ("max_failures_per_second", 0.5),
        ("dial_timeout", 0),
        ("handshake_timeout", float("nan")),
        ("keepalive_interval", float("inf")),
        ("dead_after", None),
        ("linger", -0.1),
        ("linger", True),
        ("bootstrap_backoff_min", "1s"),
        ("bootstrap_backoff_max", 86401),
    ],
)
def test_a_wrong_setting_is_refused_by_its_name(key: str, given_value: object) -> None:
    message = error_of(**{key: given_value})
    assert message.startswith(f"{key}: was ")
    assert "; allowed: " in message
    assert len(message) < 500


def test_every_setting_is_among_the_refused() -> None:
    marks = test_a_wrong_setting_is_refused_by_its_name.pytestmark  # type: ignore[attr-defined]
    assert {getattr(case, "values", case)[0] for case in marks[0].args[1]} == set(FIELDS)


@pytest.mark.parametrize(
    ("key", "given_value", "kept"),
    [
        ("tcp_port", None, None),
        ("tcp_port", 65535, 65535),
        ("beacon_port", None, None),
        (
            "listen_addresses",
            ["127.0.0.1", "0:0::1", "fe80::1%eth0", "127.0.0.1"],
            ("127.0.0.1", "::1", "fe80::1%eth0"),
        ),
        ("network_key", bytearray(KEY), KEY),
        ("network_key", "correct horse battery staple", b"correct horse battery staple"),
        ("network_key", "hex:" + KEY.hex(), KEY),
        ("identity_file", Path("some") / "file", os.path.join("some", "file")),
        (
            "stun_servers",
            ["STUN.example.org:3478", "[2001:db8::1]:3478"],
            ("stun.example.org:3478", "[2001:db8::1]:3478"),
        ),
        ("linger", 0, 0.0),
        ("dial_timeout", 3, 3.0),
        ("max_message_size", 1, 1),
        ("send_queue_bytes", 1, 1),
    ],
)
def test_a_right_setting_is_kept_in_its_one_form(key: str, given_value: object, kept: object) -> None:
    value = getattr(Config(**{key: given_value}), key)  # type: ignore[arg-type]
    assert value == kept
    assert type(value) is type(kept)


def test_contacts_may_be_text_or_endpoints_and_are_kept_once_in_order() -> None:
    first, second = Endpoint.tcp("192.0.2.8:1"), Endpoint.utp("[2001:db8::7]:5483")
    config = Config(hard_coded_contacts=(str(first), second, first))  # type: ignore[arg-type]
    assert config.hard_coded_contacts == (first, second)


def test_settings_that_contradict_each_other_are_refused() -> None:
    assert error_of(keepalive_interval=60).startswith("dead_after: was 60.0; allowed: more than keepalive_interval")
    assert error_of(bootstrap_backoff_max=0.5).startswith("bootstrap_backoff_max: was 0.5; allowed: no less than boot")
    assert error_of(tracer_port=0).startswith("tracer_port: was 0; allowed: null, unless allow_tracer is true")
    assert error_of(tracer_port=9, tcp_port=9, allow_tracer=True).startswith(
        "tracer_port: was 9; allowed: another port"
    )
    assert Config(tracer_port=0, tcp_port=0, allow_tracer=True).tracer_port == 0
    assert error_of(target_connections=9, max_connections=8).startswith(
        "target_connections: was 9; allowed: no more than max_connections, which is 8"
    )
    assert error_of(utp_port=5483).startswith("utp_port: was 5483; allowed: another port than beacon_port")
    assert error_of(cache_file="a/../key", identity_file="key").startswith(
        "cache_file: was 'a/../key'; allowed: another file than identity_file"
    )
    assert "another file than blacklist_file" in error_of(cache_file="x", blacklist_file="x")
    assert Config(utp_port=0, beacon_port=0).utp_port == 0
    assert Config(utp_port=5483, beacon_port=None).utp_port == 5483


def test_the_network_key_is_never_shown() -> None:
    secret = "this is the secret of the network"
    assert "secret" not in repr(Config(network_key=secret))  # type: ignore[arg-type]
    for given_value in ("secret", b"secret", "hex:secret", ["secret"], {"secret": 1}, "secret" * 1000):
        assert "secret" not in error_of(network_key=given_value).replace("a secret of", "").replace(
            "import secrets", ""
        ).replace("secrets.token", "")


# --- replace --------------------------------------------------------------------------------------------------------


def test_replace_changes_what_it_is_told_and_checks_it() -> None:
    config = Config(network="a").replace(tcp_port=7)
    assert (config.network, config.tcp_port) == ("a", 7)
    with pytest.raises(ConfigError, match="tcp_port: was -1"):
        config.replace(tcp_port=-1)
    with pytest.raises(ConfigError, match=r"there is no setting 'tpc_port'; did you mean tcp_port\?"):
        config.replace(tpc_port=7)


# --- YAML -----------------------------------------------------------------------------------------------------------


def test_a_full_file_is_read() -> None:
    config = Config.parse(
        f"""
# a comment
tcp_port: 5483
beacon_port: null
listen_addresses: ["::1"]
network: my net
network_key: hex:{KEY.hex()}
hard_coded_contacts:
  - tcp://192.0.2.7:5483
  - utp://[2001:db8::7]:5483
upnp: no
dial_timeout: 2.5
linger: 1
"""
    )
    assert config == Config(
        tcp_port=5483,
        beacon_port=None,
        listen_addresses=("::1",),
        network="my net",
        network_key=KEY,
        hard_coded_contacts=(Endpoint.tcp("192.0.2.7:5483"), Endpoint.utp("[2001:db8::7]:5483")),
        upnp=False,
        dial_timeout=2.5,
        linger=1.0,
    )


@pytest.mark.parametrize("text", ["", "\n# only a comment\n", "---\n", "{}", "\ufeff"])
def test_no_settings_are_the_defaults(text: str) -> None:
    assert Config.parse(text) == Config()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tcp_port: 70000", "app.yaml, line 1: tcp_port: was 70000; allowed: a port number from 1 to 65535"),
        ("\n\nupnp: maybe", "app.yaml, line 3: upnp: was 'maybe'; allowed: true or false"),
        ("network: on", "app.yaml, line 1: network: was true; allowed: a name of 1 to 255 bytes"),
        ("tcp_port: 1:30", "app.yaml, line 1: tcp_port: YAML takes this for a number to base 8 or 60; write it"),
        ("utp_port: 010", "app.yaml, line 1: utp_port: YAML takes this for a number to base 8 or 60; write it"),
        ("dial_timeout: 1:30.5", "app.yaml, line 1: dial_timeout: YAML takes this for a number to base 8 or 60"),
        ("network: 2024-02-03", "app.yaml, line 1: network: YAML takes this for a 'timestamp'; put it in quotes"),
        ("network: !!python/name:os.system x", "app.yaml, line 1: network: YAML takes this for a 'python/name"),
        ("max_dials: !!int many", "app.yaml, line 1: max_dials: YAML takes this for a 'int', but it is none"),
        ("tpc_port: 1", "app.yaml, line 1: there is no setting 'tpc_port'; did you mean tcp_port?"),
        ("Tcp-Port: 1", "app.yaml, line 1: there is no setting 'Tcp-Port'; did you mean tcp_port?"),
        ("upnp: true\nxyzzy: 1", "app.yaml, line 2: there is no setting 'xyzzy'; see the documentation"),
        ("upnp: true\nupnp: false", "app.yaml, line 2: upnp is set again; the first time is in line 1"),
        (
            "keepalive_interval: 90",
            "app.yaml: dead_after: was 60.0; allowed: more than keepalive_interval, which is 90",
        ),
        (
            "dead_after: 5\n",
            "app.yaml, line 1: dead_after: was 5.0; allowed: more than keepalive_interval, which is 20",
        ),
        ("- tcp_port\n- 1", "app.yaml, line 1: is not a list of settings"),
        ("tcp_port", "app.yaml, line 1: is not a list of settings"),
        ("? [a]\n: 1", "app.yaml, line 1: the name of a setting is a word"),
        ("upnp: {a: 1}", "app.yaml, line 1: upnp: was a collection"),
        ("stun_servers: [[a]]", "app.yaml, line 1: stun_servers: was a collection"),
        ("stun_servers:\n- a:1\n- [[[b]]]", "app.yaml, line 3: is nested too deeply"),
        ("network: &a x", "app.yaml, line 1: anchors and aliases (& and *) are not allowed"),
        ("network: *a", "app.yaml, line 1: anchors and aliases (& and *) are not allowed"),
        ("upnp: true\n---\nupnp: false", "app.yaml, line 2, column 1: is not YAML: but found another document"),
        ("upnp: [true", "app.yaml, line 1, column 12: is not YAML: expected ',' or ']'"),
        ("upnp: true\n\tx: 1", "app.yaml, line 2, column 1: is not YAML: found character '\\t'"),
        ("upnp: \x07", "app.yaml: is not YAML: unacceptable character #x0007"),
        ("network: \ud800", "app.yaml: is not YAML: unacceptable character"),
        ("max_message_size: 0x" + "f" * 5000, "app.yaml, line 1: max_message_size: was a number too long to print"),
        (
            "max_message_size: " + "9" * 5000,
            "app.yaml, line 1: max_message_size: YAML takes this for a 'int', but it is",
        ),
        ("[" * 100_000, "app.yaml, line 1: is nested too deeply"),
        ("#" * (1024 * 1024 + 1), "app.yaml: is longer than 1048576 characters"),
    ],
)
def test_an_error_names_the_text_the_line_and_what_to_do(text: str, message: str) -> None:
    assert parse_error(text).startswith(message)


def test_errors_in_yaml_never_show_the_network_key() -> None:
    for value in (
        "sesame",
        "'hex:sesame'",
        "!!int sesame",
        "!!binary sesame",
        "[sesame, [sesame]]",
        "{sesame: 1}",
        "!sesame a"[1:],
    ):
        assert "sesame" not in parse_error(f"network_key: {value}")


_SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20))
_TEXTS = st.one_of(
    st.text(max_size=200),
    st.text("abn01:- \n[]{}&*!?|>'\"%@`#,_.\t\\", max_size=60),
    st.builds("{}: {}".format, st.sampled_from(FIELDS), st.text("0123456789:xobe-_.[]{}'\"!,~ \nyn", max_size=30)),
    st.builds("{}: {!r}".format, st.sampled_from(FIELDS), st.one_of(_SCALARS, st.lists(_SCALARS, max_size=3))),
)


@given(_TEXTS)
@example("tcp_port: 0b_")
@example("tcp_port: 0x_")
@example("dial_timeout: !!float ''")
@example("tcp_port: -")
@example("upnp: !!bool x")
@example("network: !!binary ====")
@example("=: 1")
@example("<<: {}")
@example("network: !!str {}")
@example("? \n")
@example("tcp_port: !!null 7")
@example("tcp_port: 190:20:30")
@example("%YAML 9.9\n---\n")
def test_only_config_errors_escape(text: str) -> None:
    try:
        Config.parse(text)
    except ConfigError as error:
        assert len(str(error)) < 2000


_PORTS = st.one_of(st.none(), st.integers(0, 65535))
_NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=60)
_CONTACTS = st.builds(
    "{}://{}:{}".format,
    st.sampled_from(["tcp", "utp"]),
    st.sampled_from(["192.0.2.1", "[2001:db8::1]", "name.example", "[fe80::1%3]"]),
    st.integers(1, 65535),
)
_CONFIGS = st.builds(
    dict,
    tcp_port=_PORTS,
    beacon_port=_PORTS,
    network=_NAMES.filter(lambda name: name.isprintable() and len(name.encode()) <= 255),
    network_key=st.one_of(st.none(), st.binary(min_size=16, max_size=64)),
    hard_coded_contacts=st.lists(_CONTACTS, max_size=4),
    listen_addresses=st.lists(st.sampled_from(["0.0.0.0", "::", "127.0.0.1", "::1"]), min_size=1, max_size=4),
    identity_file=st.one_of(st.none(), st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=20)),
    upnp=st.booleans(),
    linger=st.floats(0, 86400),
    max_dials=st.integers(1, 65536),
)


@given(_CONFIGS, st.booleans())
@example({"identity_file": "\x85"}, False)
@example({"identity_file": "a\nb \u2028\ufeff\x00"[:-1]}, False)
@example({"identity_file": "on", "network": "1e5"}, False)
def test_what_is_written_is_read_back(settings: dict[str, object], defaults: bool) -> None:
    config = Config(**settings)  # type: ignore[arg-type]
    assert Config.parse(config.dump(defaults=defaults)) == config


def test_only_what_differs_from_the_default_is_written_unless_asked() -> None:
    assert Config(tcp_port=7).dump() == "tcp_port: 7\n"
    assert Config.parse(Config().dump()) == Config()
    assert [
        line.split(":")[0] for line in Config(stun_servers=()).dump(defaults=True).splitlines() if line[0] not in "-"
    ] == FIELDS


# --- files ----------------------------------------------------------------------------------------------------------


def test_a_file_is_loaded_and_its_places_are_relative_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    file = tmp_path / "app.crust.yaml"
    file.write_bytes(b"\xef\xbb\xbfidentity_file: keys/me\r\ncache_file: ~/cache\r\nblacklist_file: bad\r\n")
    config = Config.load(file)
    assert config.identity_file == str(tmp_path / "keys" / "me")
    assert config.cache_file == str(tmp_path / "home" / "cache")
    assert config.blacklist_file == str(file.parent / "bad")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "app.yaml: there is no such configuration file"),
        (b"\n\xff", "app.yaml, line 2: is not UTF-8 text; save the file as UTF-8"),
        (b"#" * (1024 * 1024 + 1), "app.yaml: is larger than 1048576 bytes"),
        (b"tcp_port: x", "app.yaml, line 1: tcp_port: was 'x'"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "app.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        Config.load(file)
    assert str(caught.value).startswith(str(tmp_path) + os.sep + message)


@pytest.mark.parametrize("name", ["", "nul\0", "."])
def test_a_name_that_is_no_file_is_a_config_error(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError):
        Config.load(name)
    with pytest.raises(ConfigError):
        Config().write(name, overwrite=True)


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("cache_file: ./app.yaml", "another file than the configuration itself"),
        ("identity_file: app.yaml", "another file than the configuration itself"),
        ("cache_file: ~/key\nidentity_file: key", "another file than identity_file"),
    ],
)
def test_a_file_that_would_be_two_things_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, allowed: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    file = tmp_path / "app.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=f"app.yaml: .*{allowed}"):
        Config.load(file)


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="this system has no named pipes")
def test_a_pipe_that_nobody_writes_to_is_an_error_and_one_that_somebody_does_is_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ConfigError, match="nobody writes a configuration to it"):
        Config.load(pipe)
    reader, writer = os.pipe()
    try:
        os.write(writer, b"tcp_port: 7")
        os.close(writer)
        assert yaml_files.read_file(f"/dev/fd/{reader}") == "tcp_port: 7"
    finally:
        os.close(reader)


def test_written_and_loaded(tmp_path: Path) -> None:
    file = tmp_path / "app.yaml"
    config = Config(tcp_port=1, hard_coded_contacts=("192.0.2.7:1",))  # type: ignore[arg-type]
    config.write(file)
    assert Config.load(file) == config
    assert os.listdir(tmp_path) == ["app.yaml"]


def test_an_existing_file_is_replaced_only_when_asked(tmp_path: Path) -> None:
    """And whole: TRAPS T-40, where new text was appended to the old."""
    file = tmp_path / "app.yaml"
    Config(tcp_port=1).write(file)
    with pytest.raises(ConfigError, match=r"app\.yaml: exists already and is left as it is"):
        Config(tcp_port=2).write(file)
    assert Config.load(file).tcp_port == 1
    Config(tcp_port=2).write(file, overwrite=True)
    assert Config.load(file).tcp_port == 2


def test_a_file_that_is_not_understood_is_never_overwritten(tmp_path: Path) -> None:
    """TRAPS T-39: a comma too many cost people their contacts."""
    file = tmp_path / "app.yaml"
    file.write_text("hard_coded_contacts: [tcp://192.0.2.7:5483,\ntcp_port 7")
    before = file.read_bytes()
    with pytest.raises(ConfigError, match=r"app\.yaml, line 2.*is left as it is"):
        Config().write(file, overwrite=True)
    assert file.read_bytes() == before
    assert os.listdir(tmp_path) == ["app.yaml"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_crash_while_writing_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overwrite: bool
) -> None:
    file = tmp_path / "app.yaml"
    if overwrite:
        Config(tcp_port=1).write(file)

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match=r"app\.yaml: cannot be written: No space left on device"):
        Config(tcp_port=2).write(file, overwrite=overwrite)
    assert os.listdir(tmp_path) == (["app.yaml"] if overwrite else [])
    if overwrite:
        assert Config.load(file).tcp_port == 1


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX")
def test_a_file_with_a_key_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "app.yaml"
    Config(network_key=KEY).write(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.unlink()
    Config().write(file)
    file.chmod(0o640)
    Config(tcp_port=1).write(file, overwrite=True)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    Config(network_key=KEY).write(file, overwrite=True)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_a_network_key_that_others_may_read_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "node.yaml"
    file.write_text(f"network_key: {'k' * 32}\n", "utf-8")
    file.chmod(0o644)
    Config.load(file)
    assert f"chmod 600 {file}" in caplog.text
    assert "kkkk" not in caplog.text
    caplog.clear()
    file.chmod(0o600)
    Config.load(file)
    assert not caplog.records
