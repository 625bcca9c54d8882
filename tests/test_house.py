"""The rules of the house, read from the source: who may import whom, and how long a thing may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.state_helpers import REPOSITORY

# From the ground up; a room imports from its own layer and those below. `__init__` is the package's public face.
LAYERS = (
    ("errors", "config", "release", "measure"),
    (
        *("text", "tensors", "adam", "compiling", "qlearning", "plasticity"),
        *("pickles", "disk", "lock", "history", "recorder", "svg"),
    ),
    (
        *("archive", "members", "records", "zips", "metrics", "places", "export", "probing", "summary", "reproduction"),
        *("spiking", "actions", "field", "forward", "fieldstep", "alerts", "corpora", "text_folder"),
    ),
    ("memory", "backward", "folder", "retention", "tables", "firing"),
    ("commit", "points", "labels", "manifests", "remote", "rulebook"),
    ("scribe",),
    ("torch_trainer", "compiled_trainer"),
    ("engine",),
    ("weights",),
    (
        *("persistence", "catalog", "earlier", "continuation", "loads", "check", "store"),
        *("library", "references", "shelf", "marks", "compare", "opening", "facts", "transfer"),
    ),
    ("run",),
    ("state", "saver", "saved_run"),
    ("__init__",),
    ("progress", "lifecycle", "view", "inbox", "autosave", "rescue", "worker", "backup", "states", "inside", "choices"),
    ("versions", "pacing"),
    (
        *("feed", "fields", "answers", "prove", "proofs", "report", "logs", "serving", "terminal"),
        *("monitoring", "limits", "journal", "watching", "inside_feed", "access"),
    ),
    ("console",),
    ("looking",),
    ("changing", "comparing"),
    ("moving",),
    ("command_line",),
    ("__main__",),
    ("web_access",),
    (
        *("web_compare", "web_report", "web_states", "web_transfer", "web_backup", "web_metrics", "web_pages"),
        *("web_delivery", "web_limits", "web_sockets", "web_headers", "web_openapi", "web_alerts", "web_inside"),
        *("web_corpora", "web_files"),
    ),
    ("web",),
    ("app",),
)
LAYER = {room: number for number, layer in enumerate(LAYERS) for room in layer}
STRANGERS = ("spiking", "qlearning", "field", "plasticity", "text")  # know nothing of each other
GROUND = {"errors", "config", "tensors"}  # all that those may know
TENSORS = {"spiking", "actions", "field", "tensors", "memory", "torch_trainer", "compiled_trainer", "engine"}
TORCH = TENSORS | {"weights", "persistence"}
NUMBA = {"compiling"}  # the kernels ask that room to compile them
KERNELS = ("forward", "backward", "fieldstep")  # arrays and numbers only: they work on the run's own memory
WEB = {room for room in LAYER if room.startswith("web")} | {"answers", "app"}
SERVERS = {"serving"}
WORLDLY = {"time", "threading", "random"}
BELOW_STATE = sorted(room for room in LAYER if LAYER[room] < LAYER["state"])
LONGEST_FILE = 400
LONGEST_FUNCTION = 40


@cache
def source(room: str) -> str:
    path = REPOSITORY / "app.py" if room == "app" else REPOSITORY / "quadra" / f"{room}.py"
    return path.read_text(encoding="utf-8")


@cache
def tree(room: str) -> ast.Module:
    return ast.parse(source(room))


def modules_imported(room: str) -> Iterator[str]:
    """Every module that is imported anywhere in a room; of our own, `quadra.<room>`."""
    for node in ast.walk(tree(room)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            assert node.level == 0, f"{room} imports {module or '.'} relative to itself"
            if module == "quadra":
                yield from (f"quadra.{name.name if name.name in LAYER else '__init__'}" for name in node.names)
            else:
                yield module


def rooms_imported(room: str) -> set[str]:
    """The rooms of ours that a room imports."""
    names = {module.split(".")[1] for module in modules_imported(room) if module.startswith("quadra.")}
    return names - {room}


def packages_imported(room: str) -> set[str]:
    """The top-level packages that a room imports."""
    return {module.split(".")[0] for module in modules_imported(room)}


def test_every_room_has_its_layer() -> None:
    rooms = {path.stem for path in (REPOSITORY / "quadra").rglob("*.py")} | {"app"}
    assert rooms == set(LAYER)


@pytest.mark.parametrize("room", LAYER)
def test_a_room_imports_nothing_from_above(room: str) -> None:
    assert {other for other in rooms_imported(room) if LAYER[other] > LAYER[room]} == set()


@pytest.mark.parametrize("room", STRANGERS)
def test_the_parts_of_the_model_know_nothing_of_each_other(room: str) -> None:
    assert rooms_imported(room) <= GROUND


@pytest.mark.parametrize("room", sorted(set(LAYER) - TORCH))
def test_a_room_without_tensors_imports_no_torch(room: str) -> None:
    assert "torch" not in packages_imported(room)


@pytest.mark.parametrize("room", sorted(set(LAYER) - NUMBA))
def test_one_room_alone_knows_the_compiler(room: str) -> None:
    assert "numba" not in packages_imported(room)


@pytest.mark.parametrize("room", KERNELS)
def test_kernels_know_arrays_only(room: str) -> None:
    assert rooms_imported(room) <= {"compiling", "forward"}
    assert packages_imported(room) <= {"__future__", "typing", "numpy", "quadra"}


@pytest.mark.parametrize("room", sorted(set(LAYER) - WEB))
def test_a_room_without_pages_imports_no_web_code(room: str) -> None:
    assert packages_imported(room) & {"flask", "flask_socketio", "socketio", "engineio"} == set()


@pytest.mark.parametrize("room", sorted(set(LAYER) - SERVERS))
def test_a_room_that_serves_nothing_imports_no_server(room: str) -> None:
    assert "gunicorn" not in packages_imported(room)


@pytest.mark.parametrize("room", BELOW_STATE)
def test_below_the_state_there_is_no_clock_no_thread_and_no_global_chance(room: str) -> None:
    assert packages_imported(room) & WORLDLY == set()


@pytest.mark.parametrize("room", BELOW_STATE)
def test_below_the_state_nothing_is_printed(room: str) -> None:
    names = {node.id for node in ast.walk(tree(room)) if isinstance(node, ast.Name)}
    assert "print" not in names


@pytest.mark.parametrize("room", LAYER)
def test_no_file_is_long(room: str) -> None:
    assert len(source(room).splitlines()) <= LONGEST_FILE


@pytest.mark.parametrize("room", LAYER)
def test_no_function_is_long(room: str) -> None:
    functions = [node for node in ast.walk(tree(room)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION} == {}


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "."),
        ("mypy", "--strict", "quadra", "app.py"),
    ],
    ids=" ".join,
)
def test_the_checkers_find_nothing(command: tuple[str, ...]) -> None:
    assert Path(REPOSITORY / "pyproject.toml").is_file()
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
