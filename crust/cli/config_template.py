"""The file that ``crust config init`` writes: every setting, with its explanation.

The explanations are those of the fields of `Config`: the strings under them, which Python does not keep, so they are
read from the source. Where there is no source, as in a frozen program, the file has every setting all the same.
"""

import ast
import inspect
import re
import textwrap
from typing import Final

from crust import config as config_module
from crust.config import Config

HEAD: Final = """\
# Settings of crust. What is commented out has its default: take away the # in front of a setting to change it.
# "crust config check" finds mistakes, "crust config show" prints what is in effect.
"""
WIDTH: Final = 100
_SECTION: Final = re.compile(r"\s*# --- (.+?) -*$")


def template(config: Config) -> str:
    """YAML that loads as ``config``: what has its default is commented out, everything is explained."""
    texts, sections = _explanations()
    changed = set(_chunks(config.dump()))
    parts = [HEAD]
    for key, chunk in _chunks(config.dump(defaults=True)).items():
        if key in sections:
            parts.append(f"\n# --- {sections[key]} {'-' * (WIDTH - len(sections[key]) - 7)}\n")
        explained = textwrap.fill(texts.get(key, ""), WIDTH, initial_indent="# ", subsequent_indent="# ")
        shown = chunk if key in changed else textwrap.indent(chunk, "#")
        parts.append(f"\n{explained}\n{shown}" if explained else f"\n{shown}")
    return "".join(parts)


def _chunks(text: str) -> dict[str, str]:
    """The lines of each setting in what `Config.dump` gives."""
    return {match[2]: match[1] for match in re.finditer(r"^((\w+):.*\n(?:[^\w#].*\n)*)", text, re.MULTILINE)}


def _explanations() -> tuple[dict[str, str], dict[str, str]]:
    """What each setting means, and the headings above some of them, by the names of the settings."""
    try:
        source = inspect.getsource(config_module)
    except OSError:
        return {}, {}
    (node,) = (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == "Config")
    lines = source.splitlines()
    texts: dict[str, str] = {}
    sections: dict[str, str] = {}
    above = node.lineno
    for field, text in zip(node.body, node.body[1:], strict=False):
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        key = field.target.id
        sections.update((key, found[1]) for line in lines[above : field.lineno] if (found := _SECTION.match(line)))
        above = field.lineno
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str):
            texts[key] = _plain(text.value.value)
    return texts, sections


def _plain(text: str) -> str:
    """A docstring as one line for people who write YAML."""
    return " ".join(text.replace("``None``", "null").replace("`", "").split())
