# The commands of this project under short names; CONTRIBUTING.md says when to use which.
PYTHON = .venv/bin/python
.DEFAULT_GOAL = check

.PHONY: setup lint check all docs wheel lock

setup:  # what the second command of the README does before its tests
	python3 -m venv .venv
	$(PYTHON) -m pip install -q -r requirements-dev.txt
	$(PYTHON) -m tests.helpers.browser

lint:  # what .pre-commit-config.yaml runs
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy --strict quadra app.py

check:  # lint, types and the default tests
	$(PYTHON) -m pytest

all:  # every case of every test
	$(PYTHON) -m pytest --all

docs:
	$(PYTHON) -m sphinx -W -b html docs docs/_build

wheel:
	$(PYTHON) -m pip wheel --no-deps --no-build-isolation -w dist .

lock:  # after a change of a requirements file; needs uv on the PATH
	$(PYTHON) -m tests.helpers.packages
