"""Packages: what an installation brings is locked, and what comes with the program names its licence."""

from __future__ import annotations

import tomllib
from importlib import import_module
from importlib.metadata import distributions
from pathlib import Path

import pytest

from quadra import __version__
from quadra.__main__ import COMMANDS
from tests.helpers.packages import BY_PLATFORM, LOCK, REQUIREMENTS, ROOT, canonical, pins

TOOLS = {"pip", "wheel"}  # what installs, and is not installed by us
VENDOR = ROOT / "static" / "vendor"


def locked() -> dict[str, set[str]]:
    """The versions of each package in the lock; two where they differ by platform."""
    found: dict[str, set[str]] = {}
    for pin in pins(LOCK):
        found.setdefault(canonical(pin["name"]), set()).add(pin["version"])
    return found


def test_every_installed_package_is_in_the_lock_at_its_version() -> None:
    here = {canonical(found.name): found.version for found in distributions(path=[str(site_packages())])}
    ours = {name: version for name, version in here.items() if name not in TOOLS and not BY_PLATFORM.fullmatch(name)}
    assert len(ours) > 50
    known = locked()
    assert {name: version for name, version in ours.items() if version not in known.get(name, ())} == {}


def site_packages() -> Path:
    return Path(pytest.__file__).resolve().parent.parent


@pytest.mark.parametrize("file", REQUIREMENTS, ids=lambda file: file.name)
def test_every_requirement_is_pinned_to_what_the_lock_has(file: Path) -> None:
    known = locked()
    for pin in pins(file):
        name = canonical(pin["name"])
        assert BY_PLATFORM.fullmatch(name) or known[name] == {pin["version"]}, pin[0]


def test_every_installation_is_held_to_the_lock() -> None:
    held = set[str]()
    for file in REQUIREMENTS:  # each one names the lock, or a file before it that does
        lines = file.read_text(encoding="utf-8").splitlines()
        assert "-c requirements.lock" in lines or {f"-r {name}" for name in held} & set(lines)
        held.add(file.name)
    assert {f"-r {name}" for name in held - {"requirements.txt", "requirements-dev.txt"}} <= set(lines)


def test_torch_alone_is_left_to_its_platform() -> None:
    assert not any(BY_PLATFORM.fullmatch(name) for name in locked())
    plain = [pin for pin in pins(REQUIREMENTS[0]) if BY_PLATFORM.fullmatch(pin["name"])]
    assert [pin["name"] for pin in plain] == ["torch"]
    assert "+" not in plain[0]["version"]


def test_no_file_of_packages_names_a_host_or_a_path() -> None:
    for file in (LOCK, *REQUIREMENTS):
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
        assert not any("://" in line or " @ " in line or "/" in line.partition("#")[0] for line in lines)


def test_a_line_without_a_pin_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    for line in ("flask", "flask>=3", "flask==3.*", "flask @ https://example.org/flask.whl"):
        file.write_text(f"numpy==2.0.0\n{line}\n")
        with pytest.raises(ValueError, match="pins nothing"):
            pins(file)


def test_every_package_that_is_asked_for_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8").lower()
    names = [pin["name"] for file in REQUIREMENTS for pin in pins(file)]
    assert [name for name in names if name.lower() not in readme] == []


def test_the_program_and_all_that_it_brings_have_a_licence() -> None:
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License\n")
    listed = (VENDOR / "README.md").read_text(encoding="utf-8")
    brought = [path for path in VENDOR.iterdir() if path.suffix == ".js"]
    assert brought
    for path in brought:
        (licence,) = VENDOR.glob(f"{path.name.split('.umd')[0].removesuffix('.min.js')}.LICENSE*")
        assert f"| `{path.name}` |" in listed
        assert f"`{licence.name}`" in listed


def test_the_changelog_tells_of_this_version() -> None:
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == __version__


# --- pyproject.toml

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def required(name: str) -> list[str]:
    """The pins of one requirements file."""
    return sorted(pin[0] for pin in pins(ROOT / name))


def test_a_wheel_asks_for_what_the_requirements_files_install() -> None:
    project = PYPROJECT["project"]
    assert sorted(project["dependencies"]) == required("requirements.txt")
    extras = project["optional-dependencies"]
    assert {name: sorted(extras[name]) for name in extras} == {
        name: required(f"requirements-{name}.txt") for name in ("backup", "docs")
    }


def test_a_wheel_is_built_by_the_backend_that_the_tests_have() -> None:
    assert set(PYPROJECT["build-system"]["requires"]) <= set(required("requirements-dev.txt"))


def test_a_wheel_names_its_licences_and_every_command_has_its_module() -> None:
    project = PYPROJECT["project"]
    assert project["license"] == "MIT"
    for pattern in project["license-files"]:
        assert list(ROOT.glob(pattern)), pattern
    assert (ROOT / project["readme"]).is_file()
    assert "urls" not in project
    assert project["scripts"] == {"quadramatrix": "quadra.__main__:command"}
    for name in COMMANDS:
        assert callable(import_module(f"quadra.cli.{name}").main)
