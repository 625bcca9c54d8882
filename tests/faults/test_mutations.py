"""Whatever is done to the files of a folder, Load gives a state that was saved, says what is damaged, and keeps it.

Each run draws some mutations of each kind; --all tries all of them.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from quadra import TrainingState
from quadra.errors import LoadError
from quadra.storage.layout import METRICS, METRICS_COPY, RUNS, SAVES, SYSTEM, WEIGHTS
from tests.helpers.fault_loops import (
    FIRST,
    SECOND,
    assert_true_to_its_run,
    begin_and_wait,
    decoding_remembered,
    expected,
    fingerprint,
    opened,
)
from tests.helpers.faults import Disk, image_of, write_image
from tests.helpers.mutations import KINDS, Files, Mutation, files_in
from tests.helpers.rotation import Draw
from tests.helpers.state_helpers import train

_MUTATIONS = 2100
_NEWEST = 17


class Base:
    """A folder with a ring of earlier saves, two runs, and metrics in several blocks."""

    def __init__(self, place: Path) -> None:
        folder = place / "built"
        with Disk(place):
            with opened(folder, SECOND) as state:
                state.initialize()
                for _ in range(2):
                    train(state, 2)
                    state.save("stopped")
                self.other = state.run.id
            with opened(folder, FIRST) as state:
                state.initialize()
                for count in (2, 3, 2, 1, 4, 1, 3):
                    train(state, count)
                    begin_and_wait(state)
                    if count > 2:
                        state.save()
                train(state, 1)
                state.save("stopped")
            self.saves = _iterations_of_saves(folder)
        self.image = image_of(folder)
        self.files: Files = files_in(self.image)
        self.seeds: defaultdict[str, list[int]] = defaultdict(list)  # of mutations that begin with one of this kind
        for seed in range(_MUTATIONS):
            self.seeds[Mutation(self.files, seed).kinds[0]].append(seed)
        self.rows = state.history.rows().copy()


def _iterations_of_saves(folder: Path) -> dict[str, int]:
    with opened(folder) as state:
        copies = state.catalog().copies
    return {copy.file.relative_to(folder).as_posix(): copy.iteration_count for copy in copies if copy.seed == FIRST}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    made = Base(tmp_path_factory.mktemp("base"))
    assert max(made.saves.values()) == _NEWEST
    assert len(made.saves) >= 5
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_load_gives_what_was_saved_whatever_was_done_to_files(
    base: Base, kind: str, tmp_path: Path, draw: Draw
) -> None:
    with decoding_remembered(), Disk(tmp_path):
        for seed in draw(base.seeds[kind], 5):
            mutation = Mutation(base.files, seed)
            folder = write_image(mutation.apply(base.image), tmp_path / "mutated")
            try:
                _assert_load_is_right(base, mutation, folder)
            except Exception as error:
                raise AssertionError(f"seed {seed}: {mutation.text}") from error
            shutil.rmtree(folder)


def _assert_load_is_right(base: Base, mutation: Mutation, folder: Path) -> None:
    only_other = all(path.startswith(RUNS) for path in mutation.files)
    least = _least_iteration(base, mutation)
    with opened(folder) as state:
        try:
            report = state.load(base.other if only_other and _is_listed(state, base.other) else None)
        except LoadError:
            assert least == 0, "an intact save was not loaded"
            return
        _assert_was_saved(base, state)
        if state.config.seed == FIRST:
            assert state.iteration_count >= least, f"{state.iteration_count} is older than {least}"
        else:
            unknown = {WEIGHTS, SYSTEM} <= set(mutation.files)  # nothing says that the first run was chosen last
            assert only_other or unknown or least == 0, "a save of another run was loaded"
        told = " ".join(report.remarks())
    _assert_told(mutation, told)
    _assert_nothing_is_deleted(mutation, folder)


def _is_listed(state: TrainingState, run: str) -> bool:
    return any(listed.id == run for listed in state.catalog().states)


def _least_iteration(base: Base, mutation: Mutation) -> int:
    """Of the first run, the newest save whose weights are as they were and that has a whole history."""
    changed = set(mutation.files)
    if {METRICS, f"{SAVES}/{METRICS_COPY}"} <= changed:
        return 0
    return max((count for file, count in base.saves.items() if file not in changed), default=0)


def _assert_was_saved(base: Base, state: TrainingState) -> None:
    """To the bit; rows of the history may be marked as lost, but none is wrong."""
    rows = state.history.rows()
    if np.isfinite(rows).all():
        assert_true_to_its_run(state)
        return
    assert state.config.seed == FIRST, "rows of another run are lost"
    lost = np.isnan(rows).all(1)
    assert lost.any()
    true = base.rows[: len(rows)]
    assert rows[~lost].tobytes() == true[~lost].tobytes(), "a row is wrong that is not marked as lost"
    assert fingerprint(state.engine.state_dict(), true) == expected(FIRST, state.iteration_count)


def _assert_told(mutation: Mutation, told: str) -> None:
    """One damaged file of the loaded run is named, unless the difference is none to it."""
    if len(mutation.files) != 1:
        return
    ((path, content),) = mutation.files.items()
    harmless = "lengthened" in mutation.kinds and path.endswith(
        (METRICS, METRICS_COPY)
    )  # as an append that was cut off
    gone_slot = content is None and path.startswith(SAVES) and not path.endswith(METRICS_COPY)  # nobody counted on it
    if not harmless and not gone_slot:
        assert Path(path).name in told, f"{path} is not named: {told!r}"


def _assert_nothing_is_deleted(mutation: Mutation, folder: Path) -> None:
    kept = {path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    exchanged = "exchanged" in mutation.kinds  # whole files in a wrong place may be overwritten where it is theirs
    for path, content in mutation.files.items():
        if content is not None and not exchanged and not ("lengthened" in mutation.kinds and path.endswith(".pkl")):
            assert content in kept, f"what stood in {path} is gone"
