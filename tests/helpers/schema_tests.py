"""Schemathesis on the application itself, without a network: with few examples for the suite, with many for the stress run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from quadra.config import TrainingConfig
from quadra.storage.folder import StateFolder
from quadra.training.state import TrainingState
from quadra.training.view import WorkerSettings
from quadra.training.worker import Worker
from quadra.web.app import create_app
from quadra.web.openapi import document
from quadra.web.rate_limits import Allowance, HttpLimits
from tests.helpers.waiting import PATIENCE

_DOCUMENT = json.loads(document())
_PATHS = _DOCUMENT["paths"]
OPERATIONS = sorted((path, method) for path, item in _PATHS.items() for method in item)
_CONFIG = TrainingConfig(field_size=8, seed=1, threads=1)
_UNLIMITED = Allowance(1e9, 1e9)
_MODES = schemathesis.GenerationMode


@contextmanager
def opened_application(path: Path) -> Iterator[Flask]:
    """The application with a run of five iterations that is saved, and without limits for requests."""
    folder = StateFolder(path)
    worker = Worker(folder, _CONFIG, WorkerSettings(pace=None), lambda: TrainingState(folder, _CONFIG))
    app, _, _ = create_app(worker, b"secret", http_limits=HttpLimits(_UNLIMITED, _UNLIMITED, _UNLIMITED))
    worker.start()
    worker.initialize().result(PATIENCE)
    worker.start_training(5).result(PATIENCE)
    while worker.view().status.phase.value == "training":
        worker.set_pace(None).result(PATIENCE)
    try:
        yield app
    finally:
        worker.close().result(PATIENCE)


def call_and_check(app: Flask, path: str, method: str, examples: int, seed: int | None = None) -> None:
    """Call an operation with what fits its description and with what does not; each answer is held to what is described: its
    status, the kind of its content, its schema, and that nothing fails in the server. `seed` None: the same every time."""
    operation = schemathesis.openapi.from_wsgi("/api/openapi.json", app)[path][method.upper()]
    described = _PATHS[path][method]
    may_be_wrong = path != "/login" and (  # which lets everybody come in where no token is asked for
        "requestBody" in described or any(map(_is_in_query, described.get("parameters", ())))
    )  # every text is a possible id of a state
    # An upload that looks right must also be a saved state; and to a schema 2.0 is a whole number, which a query may not say so.
    unsure = [positive_data_acceptance] if method == "post" or "history" in path else []
    for mode in (_MODES.POSITIVE, _MODES.NEGATIVE) if may_be_wrong else (_MODES.POSITIVE,):

        @settings(
            max_examples=examples,
            derandomize=seed is None,
            database=None,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def check(case: Any) -> None:
            case.call_and_validate(excluded_checks=unsure)

        (check if seed is None else hypothesis.seed(seed)(check))()


def _is_in_query(parameter: dict[str, Any]) -> bool:
    name = parameter.get("$ref", "").rpartition("/")[2]
    found: dict[str, Any] = _DOCUMENT["components"]["parameters"][name] if name else parameter
    return found["in"] == "query"
