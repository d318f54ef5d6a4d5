"""Which modules a result can depend on: those that a module imports, those that they import, and so on.

Read from the sources (imports at the top and within functions alike, those for type checkers alone left out), so that
no list has to be kept up by hand. Modules found by a name that is put together at run time cannot be seen.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("bandit_router", "bandit_router_sim")
"""Whose modules count. Libraries have versions."""


def modules_behind(entries: Sequence[str]) -> tuple[str, ...]:
    """The names, sorted, of these modules and of all that they import of PACKAGES, at whatever remove."""
    found: set[str] = set()
    waiting = list(entries)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(_imported_by(name))
    return tuple(sorted(found))


@cache
def source_of(module: str) -> Path | None:
    """The file of a module or of a package's `__init__`; None where there is no such module."""
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:
        return None
    return Path(spec.origin) if spec is not None and spec.origin is not None else None


@cache
def _imported_by(module: str) -> tuple[str, ...]:
    """Modules of PACKAGES that running this one can import, with the packages that it and they are in."""
    source = source_of(module)
    assert source is not None, f"no module {module!r}"
    named = [module, *_named_in(ast.parse(source.read_bytes()))]
    return tuple({whole for name in named for whole in _with_packages(name) if source_of(whole) is not None})


def _named_in(tree: ast.AST) -> Iterator[str]:
    """Every name that is imported and may be that of a module of PACKAGES."""
    for node in _at_run_time(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.partition(".")[0] in PACKAGES)


def _at_run_time(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        yield node
        yield from _at_run_time(node)


def _with_packages(name: str) -> Iterator[str]:
    """'a.b.c' → 'a', 'a.b', 'a.b.c'."""
    parts = name.split(".")
    return (".".join(parts[:count]) for count in range(1, len(parts) + 1))
