"""The graph of all imports of dlcore and backends: ``python tests/import_graph.py`` prints its circles.

Every import counts: at the top of a file, inside a function, and under ``TYPE_CHECKING``. An import through a package
counts as one of the file that defines the name.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

__all__ = ["circles", "graph"]

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("backends", "dlcore")


def graph(root: Path = ROOT) -> dict[str, set[str]]:
    """By module, the modules that it imports."""
    paths = {_name(path, root): path for package in PACKAGES for path in (root / package).rglob("*.py")}
    trees = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in paths.items()}
    packages = {name for name, path in paths.items() if path.name == "__init__.py"}
    exports = {name: dict(_exports(name, trees[name], set(paths))) for name in packages}

    def home(module: str, name: str, passed: frozenset[str] = frozenset()) -> str | None:
        if f"{module}.{name}" in paths:
            return f"{module}.{name}"
        if name in exports.get(module, ()) and module not in passed:
            return home(*exports[module][name], passed | {module})
        return module if module in paths else None

    found: dict[str, set[str]] = {name: set() for name in paths}
    for name, tree in trees.items():
        for module, imported in _imports(tree):
            target = home(module, imported) if imported else module if module in paths else None
            if target is not None and target != name:
                found[name].add(target)
    return found


def circles(imports: dict[str, set[str]]) -> list[list[str]]:
    """The groups of modules each of which leads to every other, the largest first (Tarjan's algorithm)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    path: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        order[module] = low[module] = len(order)
        path.append(module)
        for other in imports[module]:
            if other not in order:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in path:
                low[module] = min(low[module], order[other])
        if low[module] == order[module]:
            place = path.index(module)
            group = path[place:]
            del path[place:]
            if len(group) > 1:
                found.append(sorted(group))

    for module in imports:
        if module not in order:
            visit(module)
    return sorted(found, key=lambda group: (-len(group), group))


def _name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """The module of each import, and the name that is taken from it, if any."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield from ((node.module, alias.name) for alias in node.names)


def _exports(package: str, tree: ast.Module, modules: set[str]) -> Iterator[tuple[str, tuple[str, str]]]:
    """What a package passes on: by name, the module and the name there; also from its tables of lazy names."""
    own = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                match key, value:
                    case ast.Constant(str(name)), ast.Constant(str(place)):
                        for module in (place, f"{package}.{place}", f"{package.rpartition('.')[0]}.{place}"):
                            if module in modules and name not in own:
                                yield name, (module, name)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                if (alias.asname or alias.name) not in own:
                    yield alias.asname or alias.name, (node.module, alias.name)


if __name__ == "__main__":
    groups = circles(graph())
    for group in groups:
        print(len(group), *group)
    print(len(groups), "circles")
