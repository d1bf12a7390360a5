"""What ``crust config init`` writes is complete, explained and valid."""

import inspect
import re

import pytest

from crust.cli.config import KEYS
from crust.cli.config_template import template
from crust.config import Config

CHANGED = Config(
    tcp_port=7,
    network="café: #1",
    network_key=b"k" * 32,
    hard_coded_contacts=("tcp://192.0.2.7:1", "utp://[2001:db8::7]:2"),  # type: ignore[arg-type]
    identity_file="a\nb" + "c" * 2000,
    linger=2.5,
)


@pytest.mark.parametrize("config", [Config(), CHANGED], ids=["defaults", "changed"])
def test_it_loads_as_what_it_was_made_of(config: Config) -> None:
    assert Config.parse(template(config)) == config


def test_uncommented_it_still_loads() -> None:
    text = re.sub(r"^#(?! )", "", template(Config()), flags=re.MULTILINE)
    assert Config.parse(text) == Config()
    assert re.findall(r"^(\w+):", text, re.MULTILINE) == list(KEYS)


def test_every_setting_is_explained() -> None:
    above = dict(re.findall(r"^# (.*(?:\n# .*)*)\n#(\w+):", template(Config()), re.MULTILINE))
    explained = {key: text for text, key in above.items()}
    assert list(explained) == list(KEYS)
    assert explained["identity_file"].endswith("null for a new identity each time.")
    assert not re.search(r"`|None", template(Config()))


def test_the_headings_of_the_settings_are_there() -> None:
    headings = re.findall(r"^# --- (.*?) -+$", template(Config()), re.MULTILINE)
    assert headings[0] == "where to listen"
    assert len(headings) == len(set(headings)) > 4


def test_lines_are_short_enough_to_read() -> None:
    assert max(map(len, template(Config()).splitlines())) <= 120


def test_without_its_source_every_setting_is_there_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(module: object) -> str:
        raise OSError("could not get source code")

    monkeypatch.setattr(inspect, "getsource", refuse)
    assert re.findall(r"^#(\w+):", template(Config()), re.MULTILINE) == list(KEYS)
    assert Config.parse(template(CHANGED)) == CHANGED
