"""Short names for the commands: the Makefile, the hooks before a commit and the suite run the same checkers."""

from __future__ import annotations

import re

from tests.helpers.state_helpers import REPOSITORY
from tests.test_architecture import CHECKERS

PYTHON = ".venv/bin/python -m "


def recipes() -> dict[str, list[str]]:
    """The commands of each target of the Makefile."""
    found: dict[str, list[str]] = {}
    target = ""
    for line in (REPOSITORY / "Makefile").read_text(encoding="utf-8").splitlines():
        if line.startswith("\t"):
            found[target].append(line.strip().replace("$(PYTHON) -m ", PYTHON))
        elif re.match(r"[a-z]+:", line):
            target = line.partition(":")[0]
            found[target] = []
    return found


def test_make_lint_and_the_hooks_before_a_commit_run_the_checkers_of_the_suite() -> None:
    expected = [PYTHON + " ".join(command) for command in CHECKERS]
    hooks = (REPOSITORY / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert recipes()["lint"] == expected
    assert re.findall(r"entry: (.*)", hooks) == expected


def test_the_hooks_before_a_commit_fetch_nothing() -> None:
    hooks = (REPOSITORY / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert re.findall(r"repo: (.*)", hooks) == ["local"]
    assert set(re.findall(r"language: (.*)", hooks)) == {"system"}


def test_make_setup_and_check_are_the_second_command_of_the_readme() -> None:
    commands = re.findall(r"^```bash\n(.*?)\n```", (REPOSITORY / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    second = [re.sub(r"(^| )\S*/pip ", r"\1.venv/bin/python -m pip ", part) for part in commands[1].split(" && ")]
    found = [line.replace("install -q ", "install ") for line in recipes()["setup"] + recipes()["check"]]
    assert found == second
