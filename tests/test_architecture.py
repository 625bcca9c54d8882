"""The rules of the house, read from the source: which package may import which, and how long a thing may be."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from posixpath import dirname, join, normpath

import pytest

from tests.helpers.state_helpers import REPOSITORY

# A package imports from itself and from what its line names.
GROUND = {"errors", "config", "defaults", "version", "byte_progress", "paths", "child_process"}
MAY_IMPORT = {
    "model": GROUND,
    "storage": GROUND | {"model"},
    "states": GROUND | {"model", "storage"},
    "training": GROUND | {"model", "storage", "states"},
    "reports": GROUND | {"model", "storage", "states", "training"},
    "backup": GROUND | {"model", "storage", "states", "training"},
    "live": GROUND | {"model", "storage", "states", "training"},
    "web": GROUND | {"model", "storage", "states", "training", "reports", "backup", "live"},
    "cli": GROUND | {"model", "storage", "states", "training", "reports", "backup", "live", "web"},
}
FACES = {"__init__", "__main__", "check", "prove", "report"}  # for users, over all; nobody imports them
# Which packages may know a library that brings along more than it gives; `model/kernels` is a part of `model`.
AT_HOME = {
    "torch": {"model", "storage"},
    "numba": {"model"},
    "flask": {"web", "cli", "app"},
    "flask_socketio": {"web"},
    "socketio": {"web"},
    "engineio": {"web"},
    "gunicorn": {"web"},
    "fsspec": {"backup"},
    "msgspec": {"web"},
}
WORLDLY = {"time", "threading", "random"}
LONGEST_FILE, LONGEST_FUNCTION, FULLEST_FOLDER = 400, 40, 24

SOURCES = {
    path.relative_to(REPOSITORY).with_suffix("").as_posix(): path
    for path in (*(REPOSITORY / "quadra").rglob("*.py"), REPOSITORY / "app.py")
}


def package_of(module: str) -> str:
    """The first name below `quadra` in a path or a dotted name: a package, a module of the ground, or a face."""
    parts = module.replace(".", "/").split("/")
    return parts[1] if len(parts) > 1 else parts[0] if parts[0] == "app" else "__init__"


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(SOURCES[module].read_text(encoding="utf-8"))


def imported(module: str) -> Iterator[str]:
    """Every module that is imported anywhere in one, by its dotted name."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports {node.module or '.'} relative to itself"
            if node.module == "quadra":
                yield from (f"quadra.{name.name}" for name in node.names)
            else:
                yield node.module or ""


def dotted(module: str) -> str:
    return module.removesuffix("/__init__").replace("/", ".")


def ours(module: str) -> Iterator[str]:
    """The modules of ours that one imports, as paths."""
    names = {dotted(other): other for other in SOURCES}
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "quadra":
            for name in node.names:
                yield names.get(f"{node.module}.{name.name}", names[node.module])


WITHIN = sorted(module for module in SOURCES if package_of(module) in MAY_IMPORT)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_from_those_that_stand_before_it(package: str) -> None:
    modules = [module for module in WITHIN if package_of(module) == package]
    assert modules
    others = {
        (module, package_of(name)) for module in modules for name in imported(module) if name.split(".")[0] == "quadra"
    }
    assert {(module, other) for module, other in others if other not in MAY_IMPORT[package] | {package}} == set()


def test_the_ground_imports_nothing_but_ground() -> None:
    grounds = {module for module in SOURCES if package_of(module) in GROUND}
    assert {package_of(module) for module in grounds} == GROUND
    others = {package_of(name) for module in grounds for name in imported(module) if name.startswith("quadra")}
    assert others <= GROUND


def test_the_top_of_the_package_holds_the_faces_the_ground_and_the_packages() -> None:
    top = {
        path.stem
        for path in (REPOSITORY / "quadra").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    assert top == FACES | GROUND | set(MAY_IMPORT)


def test_the_modules_of_a_package_import_each_other_in_no_circle() -> None:
    arrows = {module: set(ours(module)) - {module} for module in SOURCES}
    while free := {module for module, others in arrows.items() if not others}:
        arrows = {module: others - free for module, others in arrows.items() if module not in free}
    assert arrows == {}


@pytest.mark.parametrize("module", [module for module in WITHIN if module.endswith("/__init__")])
def test_a_package_holds_a_docstring_and_nothing_else(module: str) -> None:
    assert ast.get_docstring(tree(module))
    assert len(tree(module).body) == 1


@pytest.mark.parametrize("library", AT_HOME)
def test_a_library_is_known_only_where_it_is_at_home(library: str) -> None:
    knowing = {package_of(module) for module in SOURCES for name in imported(module) if name.split(".")[0] == library}
    assert knowing <= AT_HOME[library]


def test_kernels_know_arrays_only() -> None:
    kernels = [
        module for module in SOURCES if module.startswith("quadra/model/kernels/") and not module.endswith("/jit")
    ]
    names = {name for module in kernels for name in imported(module)}
    assert {name.split(".")[0] for name in names} <= {"__future__", "typing", "numpy", "quadra"}
    assert {
        name for name in names if name.startswith("quadra") and not name.startswith("quadra.model.kernels")
    } == set()


@pytest.mark.parametrize("module", [module for module in WITHIN if package_of(module) == "model"])
def test_the_model_has_no_clock_no_thread_no_global_chance_and_prints_nothing(module: str) -> None:
    assert {name.split(".")[0] for name in imported(module)} & WORLDLY == set()
    assert "print" not in {node.id for node in ast.walk(tree(module)) if isinstance(node, ast.Name)}


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_no_file_and_no_function_is_long(module: str) -> None:
    assert len(SOURCES[module].read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE
    functions = [node for node in ast.walk(tree(module)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION} == {}


def test_no_folder_is_too_full_to_be_looked_through() -> None:
    roots = [REPOSITORY / "quadra", REPOSITORY / "static" / "js"]
    folders = [folder for root in roots for folder in (root, *root.rglob("*/")) if folder.name != "__pycache__"]
    counts = {folder: len([path for path in folder.iterdir() if path.suffix in (".py", ".js")]) for folder in folders}
    assert {str(folder): count for folder, count in counts.items() if count > FULLEST_FOLDER} == {}


# --- the scripts of the page

SCRIPTS = REPOSITORY / "static" / "js"
# A folder's scripts import from their own folder and from those that its line names.
PARTS = ("charts", "panels", "controls", "inside", "compare")
MAY_USE = {
    "lib": set[str](),
    "core": {"lib"},
    **{part: {"lib", "core"} for part in PARTS},
    "states": {"lib", "core", *PARTS},
    ".": {"lib", "core", *PARTS, "states"},
}
# Types that a comment names count as much as what is imported.
NAMED = re.compile(r'(?:\bfrom |\bimport\()"(\.[\w./]+)"')


def scripts_named() -> dict[str, set[str]]:
    """For each script, by its path below `static/js`, the scripts that it imports or whose types it names."""
    scripts = {path.relative_to(SCRIPTS).as_posix(): path for path in SCRIPTS.rglob("*.js")}
    return {
        name: {normpath(join(dirname(name), other)) for other in NAMED.findall(path.read_text(encoding="utf-8"))}
        for name, path in scripts.items()
    }


def test_the_scripts_of_a_folder_use_only_those_of_folders_before_it() -> None:
    named = scripts_named()
    arrows = {(dirname(name) or ".", dirname(other) or ".") for name, others in named.items() for other in others}
    assert {folder for folder, _ in arrows} == set(MAY_USE)
    assert {(folder, other) for folder, other in arrows if other not in MAY_USE[folder] | {folder}} == set()


def test_scripts_use_each_other_in_no_circle() -> None:
    arrows = scripts_named()
    assert {other for others in arrows.values() for other in others} <= set(arrows)
    while free := {name for name, others in arrows.items() if not others}:
        arrows = {name: others - free for name, others in arrows.items() if name not in free}
    assert arrows == {}


def test_no_script_and_no_sheet_is_long() -> None:
    files = [*SCRIPTS.rglob("*.js"), *(REPOSITORY / "static" / "css").iterdir()]
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}


CHECKERS = [
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy", "--strict", "quadra", "app.py"),
]


@pytest.mark.long
@pytest.mark.process
@pytest.mark.parametrize("command", CHECKERS, ids=" ".join)
def test_the_checkers_find_nothing(command: tuple[str, ...]) -> None:
    assert Path(REPOSITORY / "pyproject.toml").is_file()
    done = subprocess.run([sys.executable, "-m", *command], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
