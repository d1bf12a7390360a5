"""The source files of crust and what each imports, for the tests that look at the shape of the whole."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@cache
def modules() -> dict[str, Path]:
    """Module name to file, without the package's own name: ``transport.tcp``; ``__init__`` is the package itself."""
    found = {}
    for file in sorted((ROOT / "crust").rglob("*.py")):
        parts = file.relative_to(ROOT / "crust").with_suffix("").parts
        is_package = parts[-1] == "__init__" and len(parts) > 1
        found[".".join(parts[:-1] if is_package else parts)] = file
    return found


@cache
def tree(module: str) -> ast.Module:
    """The syntax tree of a module."""
    return ast.parse(modules()[module].read_text("utf-8"))


class _Imports(ast.NodeVisitor):
    """Every name imported, wherever the statement stands; those that only a type checker sees, if wanted."""

    def __init__(self, with_types: bool) -> None:
        self.names: set[str] = set()
        self._with_types = with_types

    def visit_If(self, node: ast.If) -> None:
        types = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        only_types = types and not self._with_types
        for statement in node.orelse if only_types else [*node.body, *node.orelse]:
            self.visit(statement)

    def visit_Import(self, node: ast.Import) -> None:
        self.names.update(alias.name for alias in node.names)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self.names.update(f"{node.module}.{alias.name}" for alias in node.names)


@cache
def imports(module: str, *, with_types: bool = False) -> frozenset[str]:
    """Full names of what a module imports, as in ``socket`` or ``crust.endpoint.Endpoint``."""
    visitor = _Imports(with_types)
    visitor.visit(tree(module))
    return frozenset(visitor.names)


@cache
def crust_imports(module: str, *, with_types: bool = False) -> frozenset[str]:
    """The modules of crust (named as in `modules`) that a module imports."""
    found = set()
    for name in imports(module, with_types=with_types):
        if name == "crust" or name.startswith("crust."):
            rest = name.removeprefix("crust").removeprefix(".")
            while rest and rest not in modules():
                rest = rest.rpartition(".")[0]
            found.add(rest or "__init__")
    return frozenset(found - {module})


def outside_imports(module: str) -> frozenset[str]:
    """The top-level names of other packages that a module imports."""
    return frozenset(name.partition(".")[0] for name in imports(module)) - {"crust"}
