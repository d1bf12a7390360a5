"""The packages of crust import each other one way, and the documentation shows them in that order."""

import re

import pytest

from tests.source_tree import ROOT, crust_imports, modules

PACKAGES = {module for module, file in modules().items() if file.name == "__init__.py"} - {"__init__"}


def inside(room: str) -> dict[str, set[str]]:
    """What lies in a package, and what each of it imports of the rest; names that only a type checker sees count
    between packages."""
    found: dict[str, set[str]] = {}
    for module in modules():
        if (own := part(room, module)) is None:
            continue
        needs = found.setdefault(own, set())
        for other in crust_imports(module, with_types=True):
            its = part(room, other)
            if its is not None and its != own and (other in crust_imports(module) or {own, its} & PACKAGES):
                needs.add(its)
    return found


def part(room: str, module: str) -> str | None:
    """The file or package directly in a package that a module belongs to, by its full name."""
    prefix = f"{room}." if room else ""
    if not module.startswith(prefix):
        return None
    return prefix + module.removeprefix(prefix).partition(".")[0]


def circle(imports: dict[str, set[str]]) -> list[str]:
    """Some names that import each other in a circle, the first one again at the end; none if there is no circle."""
    left = {name: needs & imports.keys() for name, needs in imports.items()}
    while ready := [name for name, needs in left.items() if not needs & left.keys()]:
        for name in ready:
            del left[name]
    if not left:
        return []
    path = [min(left)]
    while path[-1] not in path[:-1]:
        path.append(min(left[path[-1]] & left.keys()))
    return path[path.index(path[-1]) :]


@pytest.mark.parametrize("room", ["", *sorted(PACKAGES)])
def test_rooms_import_one_way(room: str) -> None:
    found = circle(inside(room))
    assert not found, "packages must not import each other in circles: " + " imports ".join(found)


def test_a_circle_is_found() -> None:
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": {"d"}, "d": {"b"}, "e": set()}) == ["b", "c", "d", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
    assert "transport" in inside("")["nat"]
    assert "nat" not in inside("")["transport"]


def test_the_page_shows_the_rooms_from_the_bottom_to_the_top() -> None:
    listed = re.findall(r"^\| `crust/(\w+)` \|", (ROOT / "docs/threads.md").read_text("utf-8"), re.MULTILINE)
    rooms = inside("")
    assert sorted(listed) == sorted(room for room in PACKAGES if "." not in room)
    for number, room in enumerate(listed):
        assert not rooms[room] & set(listed[number:]), f"{room} stands too high in the table of docs/threads.md"
