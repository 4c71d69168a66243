"""The arrows between folders, and no cycles between modules."""

import ast
import graphlib
from pathlib import Path

import pytest

PACKAGES = ("boards", "gen", "hw", "models", "sim", "systolith", "tb")
ALLOWED = {
    "hw": (),
    "models": (),
    "sim.golden": ("models",),
    "gen": ("hw", "models"),
    "sim": ("gen", "hw", "models"),
    "boards": ("gen", "hw", "models", "sim"),
    "tb": PACKAGES,
    "systolith": PACKAGES,
}


def layer_of(module: str) -> str:
    """Most specific entry of ALLOWED that holds a module."""
    parts = module.split(".")
    names = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
    return next(name for name in names if name in ALLOWED)


def modules(root: Path) -> dict[str, Path]:
    """Every module of the project by its dotted name."""
    found = {}
    for package in PACKAGES:
        for path in [root / f"{package}.py", *sorted((root / package).rglob("*.py"))]:
            if path.is_file():
                parts = path.relative_to(root).with_suffix("").parts
                found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """Modules of the project that a module imports anywhere in its text."""
    found = set()
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[:len(package) - node.level + 1]) if node.level else ""
            target = ".".join(part for part in (base, node.module) if part)
            found |= {full if (full := f"{target}.{alias.name}") in known else target
                      for alias in node.names}
    return {target for target in found if target.split(".")[0] in PACKAGES}


def module_level_imports(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """The same, of imports that run when the module is imported, its own package left out."""
    return {target for target in imports(name, path, known)
            if target in known and target != name and not name.startswith(f"{target}.")}


@pytest.fixture(scope="module")
def known(root):
    return modules(root)


@pytest.mark.parametrize("layer", ALLOWED)
def test_layer_imports_only_what_lies_below(layer, known):
    allowed = (layer, *ALLOWED[layer])
    wrong = [f"{name} imports {target}" for name, path in known.items() if layer_of(name) == layer
             for target in imports(name, path, known)
             if not any(target == entry or target.startswith(f"{entry}.") for entry in allowed)]
    assert not wrong


def test_modules_import_each_other_without_cycles(known):
    graph = {name: module_level_imports(name, path, known) for name, path in known.items()}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the modules


def test_layer_test_sees_a_forbidden_import(tmp_path):
    (tmp_path / "hw").mkdir()
    (tmp_path / "hw" / "bad.py").write_text("def f():\n    from models import graph\n")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "graph.py").write_text("")
    known = modules(tmp_path)
    assert imports("hw.bad", known["hw.bad"], known) == {"models.graph"}
