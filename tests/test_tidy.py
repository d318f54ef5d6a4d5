"""The rules of this repository that no linter knows, as tests. An exemption stands here, with its reason."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GENERATED = "bandit_router/v1/"
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "misc"}
UNFINISHED = re.compile(r"\b(TO" + "DO|FIX" + r"ME)\b")
MACHINE_PATH = re.compile(r"(?<![\w.~$}*-])/(?:" + "work|root|home)/")
REGISTRY = re.compile(r"https?://\S+/\+?sim" + r"ple\b")

UNTESTED_CORE = {
    "__init__": "empty",
    "gaussian": "the linear model of the learners that are tested by their own names",
    "protocol": "what members of a family have in common; tested by the members",
    "resources": "values with defaults and no rules; read and written in test_documents",
}
UNTESTED_SERVICE = {
    "__init__": "empty",
    "assembly": "every test of a service is assembled by it",
    "messages": "plain values",
    "plan": "what Route does with its plan is tested in test_route",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def tracked() -> tuple[str, ...]:
    """Paths of the tracked text files that exist."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout: there is no list of the repository's own files")
    return tuple(name for name in listed.stdout.split("\0") if name and is_text(ROOT / name))


def is_text(path: Path) -> bool:
    return path.is_file() and b"\0" not in path.read_bytes()[:8192]


def python_files(*folders: str) -> list[str]:
    """Python files in the folders (all if none is given), without the generated ones."""
    files = [name for name in tracked() if name.endswith(".py") and not name.startswith(GENERATED)]
    return [name for name in files if name.startswith(folders)] if folders else files


@cache
def parsed(name: str) -> ast.Module:
    return ast.parse((ROOT / name).read_text(encoding="utf-8"))


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def lines_with(pattern: re.Pattern[str], names: Iterator[str]) -> list[str]:
    """Where the pattern is found, as 'file:line'."""
    found = []
    for name in names:
        for number, line in enumerate((ROOT / name).read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if pattern.search(line):
                found.append(f"{name}:{number}")
    return found


def test_no_file_is_longer_than_one_can_keep_in_mind() -> None:
    lengths = {name: len((ROOT / name).read_text(encoding="utf-8").splitlines()) for name in python_files()}
    assert {name: count for name, count in lengths.items() if count > MAX_FILE_LINES} == {}


def test_every_function_fits_a_screen() -> None:
    too_long = [
        f"{name}:{node.lineno} {node.name}"
        for name in python_files()
        for node in functions(parsed(name))
        if (node.end_lineno or 0) - node.lineno + 1 > MAX_FUNCTION_LINES
    ]
    assert too_long == []


def undocumented(name: str) -> Iterator[str]:
    """Public modules, classes, functions and methods without a docstring."""
    tree = parsed(name)
    if tree.body and not ast.get_docstring(tree) and not Path(name).name.startswith("_"):
        yield name
    for node in tree.body:
        if not isinstance(node, ast.ClassDef | Function) or node.name.startswith("_"):
            continue
        members = node.body if isinstance(node, ast.ClassDef) else []
        for item in (node, *(m for m in members if isinstance(m, Function) and not m.name.startswith("_"))):
            if not ast.get_docstring(item):
                yield f"{name}:{item.lineno} {item.name}"


def test_everything_public_says_what_it_does() -> None:
    assert [place for name in python_files("bandit_router/") for place in undocumented(name)] == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    names = [(name, Path(name)) for name in python_files()]
    assert [name for name, path in names if VAGUE_NAMES & {path.stem, *path.parent.parts}] == []


def test_nothing_is_left_to_be_done_in_a_comment() -> None:
    assert lines_with(UNFINISHED, iter(tracked())) == []


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    assert lines_with(MACHINE_PATH, iter(tracked())) == []


def test_no_file_names_a_package_registry() -> None:
    assert lines_with(REGISTRY, iter(tracked())) == []


def is_float(annotation: ast.expr | None) -> bool:
    return annotation is not None and any(
        isinstance(node, ast.Name) and node.id in ("float", "FloatArray") for node in ast.walk(annotation)
    )


def is_money(name: object) -> bool:
    return isinstance(name, str) and name.endswith("_nusd")


def float_money(tree: ast.Module) -> Iterator[int]:
    """Lines on which something called `…_nusd` is declared or set as a float."""
    for node in ast.walk(tree):
        match node:
            case ast.AnnAssign(target=ast.Name(id=name) | ast.Attribute(attr=name), annotation=kind):
                bad = is_money(name) and is_float(kind)
            case ast.arg(arg=name, annotation=kind):
                bad = is_money(name) and is_float(kind)
            case ast.FunctionDef(name=name, returns=kind) | ast.AsyncFunctionDef(name=name, returns=kind):
                bad = is_money(name) and is_float(kind)
            case ast.keyword(arg=name, value=ast.Constant(value=float())):
                bad = is_money(name)
            case ast.Assign(targets=[ast.Name(id=name) | ast.Attribute(attr=name)], value=ast.Constant(value=float())):
                bad = is_money(name)
            case _:
                bad = False
        if bad:
            yield node.lineno  # type: ignore[attr-defined]


def test_money_is_never_a_float() -> None:
    assert [f"{name}:{line}" for name in python_files() for line in float_money(parsed(name))] == []


@pytest.mark.parametrize(
    "code",
    [
        "cost_nusd: float = 0",
        "def f(cost_nusd: float | None): ...",
        "def cost_nusd() -> float: ...",
        "f(cost_nusd=1.5)",
        "x.cost_nusd = 0.0",
    ],
)
def test_money_as_a_float_would_be_noticed(code: str) -> None:
    assert list(float_money(ast.parse(code))) == [1]


@pytest.mark.parametrize(("layer", "untested"), [("core", UNTESTED_CORE), ("service", UNTESTED_SERVICE)])
def test_every_module_has_its_file_of_tests(layer: str, untested: dict[str, str]) -> None:
    modules = {Path(name).stem for name in python_files(f"bandit_router/{layer}/")}
    tests = {Path(name).stem.removeprefix("test_") for name in python_files(f"tests/unit/{layer}/")}
    assert modules - tests - untested.keys() == set()
    assert untested.keys() & tests == set(), "an exemption that is no longer needed"


def test_the_names_of_tests_are_sentences() -> None:
    short = [
        f"{name}:{node.lineno} {node.name}"
        for name in python_files("tests/")
        for node in functions(parsed(name))
        if node.name.startswith("test_") and node.name.count("_") < 3
    ]
    assert short == []


def test_no_two_test_files_bear_the_same_name() -> None:
    """pytest imports them as top-level modules."""
    names = [Path(name).name for name in python_files("tests/") if Path(name).name != "conftest.py"]
    assert [name for name in names if names.count(name) > 1] == []
