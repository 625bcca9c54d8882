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


def commands_of_the_readme() -> list[str]:
    return re.findall(r"^```bash\n(.*?)\n```", (REPOSITORY / "README.md").read_text(encoding="utf-8"), re.M | re.S)


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
    second = commands_of_the_readme()[1].split(" && ")
    second = [re.sub(r"(^| )\S*/pip ", r"\1.venv/bin/python -m pip ", part) for part in second]
    assert recipes()["setup"] + recipes()["check"] == second


def test_the_checks_of_a_push_are_the_second_command_of_the_readme() -> None:
    lines = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert lines[-1] == commands_of_the_readme()[1]
    assert [line for line in lines[:-1] if not line.startswith("#")] == ["set -euo pipefail", 'cd "$(dirname "$0")/.."']
