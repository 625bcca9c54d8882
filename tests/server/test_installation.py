"""The wheel: all that the program needs is in it, and what it installs trains and serves from any folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import urllib.request
import zipfile
from pathlib import Path
from urllib.parse import urljoin

import pytest

from quadra.__main__ import COMMANDS
from tests.helpers.server import ROOT, Server
from tests.helpers.waiting import PATIENCE

KERNELS = Path("quadra/model/kernels")
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-cache-dir")
MAPPED = {"static": "quadra/site/static", "templates": "quadra/site/templates", "quadra": "quadra"}


def run(*command: str | Path, cwd: Path = ROOT, environment: dict[str, str] | None = None) -> str:
    """What a command that succeeds prints."""
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    run(*PIP, "wheel", "-q", "--no-index", "--no-deps", "--no-build-isolation", "-w", folder, ".")
    (found,) = folder.glob("*.whl")
    return found


def installed(wheel: Path, folder: Path) -> Path:
    """An environment of its own with the wheel; what the wheel depends on it sees in the present one. Returns its `bin`."""
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin" / "python"
    run(*PIP, "--python", python, "install", "-q", "--no-index", "--no-deps", "--no-compile", wheel)
    Path(site_of(folder), "present.pth").write_text(
        "\n".join({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}) + "\n"
    )
    return python.parent


def site_of(folder: Path) -> Path:
    (found,) = folder.glob("lib/python*/site-packages")
    return found


def share_kernels(folder: Path) -> None:
    """Hand on what the checkout's training step is compiled to: numba goes by a source's name, size and time."""
    import quadra.model.compiled_backend  # noqa: F401  # compiles what is not there yet

    target = site_of(folder) / KERNELS
    (target / "__pycache__").mkdir()
    for source in (ROOT / KERNELS).glob("*.py"):
        found = source.stat()
        os.utime(target / source.name, ns=(found.st_atime_ns, found.st_mtime_ns))
    for kernel in (ROOT / KERNELS / "__pycache__").glob("*.nb?"):
        shutil.copy(kernel, target / "__pycache__")


@pytest.mark.process
def test_every_module_template_static_file_and_data_file_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}
    here = {
        f"{target}/{path.relative_to(ROOT / folder).as_posix()}": path
        for folder, target in MAPPED.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed.keys() == here.keys()
    assert [name for name, path in here.items() if packed[name] != path.read_bytes()] == []


@pytest.mark.long
@pytest.mark.process
@pytest.mark.parametrize("kernels", ["shared", pytest.param("compiled anew", marks=pytest.mark.all)])
def test_the_installed_command_trains_serves_checks_and_lists_from_any_folder(
    wheel: Path, tmp_path: Path, kernels: str
) -> None:
    binaries = installed(wheel, tmp_path / "environment")
    if kernels == "shared":
        share_kernels(tmp_path / "environment")
    else:  # as the first start does behind the page, but for as long as it takes
        run(
            binaries / "python",
            "-c",
            "import quadra.model.compiled_backend",
            cwd=tmp_path,
            environment={"PYTHONPATH": ""},
        )
    command = str(binaries / "quadramatrix")
    folder, states = tmp_path / "elsewhere", tmp_path / "elsewhere" / "dashboard_state"
    folder.mkdir()
    environment = {"PYTHONPATH": "", "XDG_STATE_HOME": str(tmp_path / "user")}

    help_text = run(command, "--help", cwd=folder, environment=environment)
    assert help_text.startswith("usage: quadramatrix COMMAND")
    assert all(f"\n  {name} " in help_text for name in COMMANDS)

    options = ("--resume", "--seed", "1", "--port", "0")
    with Server(states, *options, environment=environment, program=(command, "serve")) as server:
        server.wait_for("State saved: ")
        with urllib.request.urlopen(server.url, timeout=PATIENCE) as answer:
            page = answer.read().decode()
        linked = re.findall(r'(?:src|href)="([^"]*assets/[^"]+)"', page)
        assert len(linked) > 20
        for path in (*linked, "api/openapi.json"):
            with urllib.request.urlopen(urljoin(f"{server.url}/", path), timeout=PATIENCE) as answer:
                assert answer.read()
        assert server.end() == 0
    assert len((tmp_path / "user" / "quadramatrix" / "secret_key").read_bytes()) == 64

    assert run(command, "check", states, cwd=folder, environment=environment).endswith("Everything is whole.\n")
    listed = run(command, "states", "list", cwd=folder, environment=environment)
    assert " current " in listed
    assert {path.name for path in folder.iterdir()} == {"dashboard_state"}
