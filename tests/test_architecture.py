"""The structural rules of .github/CONTRIBUTING.md: pure packages, layers, no import cycles, small
modules and functions."""

from __future__ import annotations

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in ROOT.glob("amid/**/*.py")}
PURE = (
    "amid.ami.", "amid.manager.", "amid.rpc.", "amid.events.", "amid.supervision.", "amid.state.", "amid.history.",
    "amid.bus.protocol.",
)  # fmt: skip
IMPURE = {"asyncio", "nats", "os", "pathlib", "selectors", "signal", "socket", "ssl", "subprocess", "threading", "time", "zmq"}
"""Modules that pure modules must not import."""

MAY_IMPORT = {
    "ami": "ami",
    "rpc": "rpc events ami wire errors",
    "manager": "manager rpc ami errors",
    "events": "events ami wire errors",
    "supervision": "supervision",
    "state": "state events ami wire errors",
    "history": "history rpc errors",
    "config": "config manager rpc ami wire errors",
    "client": "client events wire errors outage",
    "simulator": "simulator",
    "process": "process config supervision rpc wire errors outage",
    "supervisor": "supervisor process config supervision wire errors",
    "reader": "reader process config supervision events rpc ami wire errors",
    "broker": "broker process config rpc ami wire errors",
    "bus.protocol": "bus events rpc wire errors",
}
"""A package -> the packages of amid that it may import; those that are not named are edges, which may import all."""


def imports(tree: ast.AST) -> set[str]:
    """The modules imported at import time: not inside functions, and not for type checking only."""
    found: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in FILES or f"{name}.__init__" in FILES else node.module for name in inner}
        elif isinstance(node, ast.Try | ast.With | ast.ClassDef):
            found |= imports(node)
    return found


@cache
def parsed(module: str) -> ast.Module:
    """Parsed in a test, not when each worker collects the tests."""
    return ast.parse(FILES[module].read_text())


@cache
def all_imports() -> dict[str, set[str]]:
    return {name.removesuffix(".__init__"): imports(parsed(name)) for name in FILES}


@pytest.mark.parametrize("module", [name for name in FILES if name.startswith(PURE)])
def test_a_pure_module_imports_no_socket_and_no_clock(module: str) -> None:
    assert not {name.partition(".")[0] for name in imports(parsed(module))} & IMPURE


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_lower_layers(package: str) -> None:
    inside = {name for module, names in all_imports().items() if f"{module}.".startswith(f"amid.{package}.") for name in names}
    below = {name.split(".")[1] for name in inside if name.startswith("amid.")}
    assert below <= set(MAY_IMPORT[package].split())


def test_no_import_cycle() -> None:
    modules = all_imports()
    TopologicalSorter({module: names & modules.keys() - {module} for module, names in modules.items()}).prepare()


@pytest.mark.parametrize("module", FILES)
def test_modules_and_functions_are_small(module: str) -> None:
    assert len(FILES[module].read_text().splitlines()) <= 350
    functions = [node for node in ast.walk(parsed(module)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert not [f"{one.name}: {length} lines" for one in functions if (length := (one.end_lineno or 0) - one.lineno + 1) > 40]
