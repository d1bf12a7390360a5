"""The YAML of a configuration: text to settings with their lines, and back. Knows no setting.

YAML is more than settings need. What could surprise or hurt is refused: anchors and aliases (a few lines of them can
stand for gigabytes), tags, several documents, keys given twice, deep nesting and files without end.
"""

import os
import re
import stat
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import yaml

from crust.errors import ConfigError
from crust.settings.checks import show

MAX_FILE_SIZE: Final = 1024 * 1024
"""Bytes; a configuration with a thousand contacts has a twentieth of it."""
MAX_DEPTH: Final = 3
"""Collections in collections: a mapping of settings, and a list in it; one more so that the error can name the key."""

_TAG: Final = "tag:yaml.org,2002:"
_OTHER_BASE: Final = re.compile(r"[-+]?0[0-7_]|.*:")
"""Numbers that YAML 1.1 reads to base 8 or 60, as 010 and 1:30, and people to base 10 or as something else."""
_PLAIN: Final = frozenset({"bool", "float", "int", "null", "str"})


class Setting(NamedTuple):
    """One setting as it stands in a file."""

    value: Any
    line: int
    """Counted from 1."""


def read_file(path: str | os.PathLike[str]) -> str:
    """The text of a configuration file.

    Raises:
        ConfigError: it cannot be read, is too large, or is not UTF-8.
    """
    name = os.fspath(path)
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            data = file.read(MAX_FILE_SIZE + 1)
            if not data and stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
                raise ConfigError(f"{name}: is a pipe, and nobody writes a configuration to it")
    except FileNotFoundError as error:
        raise ConfigError(f"{name}: there is no such configuration file") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise ConfigError(f"{name!s}: the configuration file cannot be read: {error}") from error
    if len(data) > MAX_FILE_SIZE:
        raise ConfigError(f"{name}: is larger than {MAX_FILE_SIZE} bytes, so it is not a configuration file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{name}, line {line}: is not UTF-8 text; save the file as UTF-8") from error


def _open_at_once(path: str, flags: int) -> int:
    """Open it, and do not wait for somebody who writes to a named pipe; what a writer that is there says is awaited."""
    if not hasattr(os, "O_NONBLOCK"):  # Windows, where no file is a pipe
        return os.open(path, flags)
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)
    return descriptor


def parse(text: str, name: str) -> dict[str, Setting]:
    """The settings in ``text``.

    Args:
        text: YAML, a mapping of keys to scalars and lists of scalars. Nothing at all is no settings.
        name: what errors call the text, usually the file.

    Raises:
        ConfigError: it is something else; the message names ``name`` and the line. No other error escapes.
    """
    if len(text) > MAX_FILE_SIZE:
        raise ConfigError(f"{name}: is longer than {MAX_FILE_SIZE} characters, so it is not a configuration")
    try:
        _refuse_the_dangerous(text, name)
        loader = yaml.SafeLoader(text)
        try:
            root = loader.get_single_node()
            return {} if root is None else _settings(loader, root, name)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}, line {mark.line + 1}, column {mark.column + 1}" if mark else name
        raise ConfigError(f"{where}: is not YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:  # a character that YAML does not allow
        problem = " ".join(str(error).split())
        raise ConfigError(f"{name}: is not YAML: {problem}") from error


def dump(values: Mapping[str, Any]) -> str:
    """YAML that `parse` reads back to the same values."""
    if not values:
        return "# Every setting has its default.\n"
    style: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "default_flow_style": False, "width": 1000}
    return str(yaml.dump(dict(values), Dumper=_Dumper, **style))


class _Dumper(yaml.SafeDumper):
    """Quotes what YAML would fold otherwise: PyYAML writes U+0085 bare between single quotes and reads a space."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        return self.represent_scalar(f"{_TAG}str", text, style=None if text.isprintable() else '"')


_Dumper.add_representer(str, _Dumper.represent_text)


def _where(name: str, node: Any) -> str:
    return f"{name}, line {node.start_mark.line + 1}"


def _refuse_the_dangerous(text: str, name: str) -> None:
    """Look at the events of the parser, which needs no recursion, before nodes are made of them, which does."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if getattr(event, "anchor", None) is not None:
            raise ConfigError(f"{_where(name, event)}: anchors and aliases (& and *) are not allowed; write it out")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise ConfigError(f"{_where(name, event)}: is nested too deeply; settings are scalars and flat lists")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _settings(loader: yaml.SafeLoader, root: yaml.Node, name: str) -> dict[str, Setting]:
    if root.tag == f"{_TAG}null":  # "---" and nothing
        return {}
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(
            f"{_where(name, root)}: is not a list of settings; write one on each line, as in tcp_port: 5483"
        )
    found: dict[str, Setting] = {}
    for key_node, value_node in root.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise ConfigError(f"{_where(name, key_node)}: the name of a setting is a word, as in tcp_port: 5483")
        key = key_node.value
        if key in found:
            raise ConfigError(
                f"{_where(name, key_node)}: {_word(key)} is set again; the first time is in line {found[key].line}"
            )
        found[key] = Setting(_value(loader, value_node, key, name), key_node.start_mark.line + 1)
    return found


def _word(key: str) -> str:
    return key if key.isidentifier() and len(key) <= 64 else show(key)


def _value(loader: yaml.SafeLoader, node: yaml.Node, key: str, name: str) -> Any:
    if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
        return [_scalar(loader, item, key, name) for item in node.value]
    return _scalar(loader, node, key, name)


def _scalar(loader: yaml.SafeLoader, node: yaml.Node, key: str, name: str) -> Any:
    where = f"{_where(name, node)}: {_word(key)}"
    if not isinstance(node, yaml.ScalarNode):
        raise ConfigError(f"{where}: was a collection; allowed: a single value or a flat list of them")
    kind = node.tag.removeprefix(_TAG)[:40]
    if kind not in _PLAIN:  # a date, or a tag that somebody wrote
        raise ConfigError(f"{where}: YAML takes this for a {kind!r}; put it in quotes")
    if kind in ("int", "float") and _OTHER_BASE.match(node.value):
        raise ConfigError(
            f"{where}: YAML takes this for a number to base 8 or 60; write it without leading zeros and colons, "
            "or in quotes"
        )
    try:
        return loader.construct_object(node)
    except (ArithmeticError, LookupError, ValueError):  # not shown and not chained: it may be a secret
        raise ConfigError(f"{where}: YAML takes this for a {kind!r}, but it is none; put it in quotes") from None
