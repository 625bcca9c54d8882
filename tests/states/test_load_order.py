"""Loads: in which order saved states are tried, and what a person is told of the outcome."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from quadra.errors import DamagedFileError
from quadra.states.load_order import LoadReport, iterations_reached, load_attempts, load_failure
from quadra.storage.catalog import Catalog, SavedSummary, summary_of
from quadra.storage.layout import RUNS, SAVES, WEIGHTS, StateLayout
from quadra.storage.metrics_file import MetricsLog
from tests.helpers.state_helpers import RUN_A, RUN_B, record

FOLDER = Path("state")


def saved(run: str, sequence: int, file: Path, **changes: Any) -> SavedSummary:
    moment = f"2026-01-01T00:{sequence:02}:00.000Z"
    folder = FOLDER if file.parent.name == SAVES else file.parent
    return summary_of(
        record(run, sequence=sequence, saved_at=moment, iteration_count=10 * sequence, **changes), file, folder
    )


PRESENT = saved(RUN_A, 9, FOLDER / WEIGHTS)
EARLIER = [saved(RUN_A, 8, FOLDER / SAVES / "3.pth"), saved(RUN_A, 6, FOLDER / SAVES / "1.pth")]
OTHER = saved(RUN_B, 7, FOLDER / RUNS / RUN_B / WEIGHTS, ended="cut off")
CATALOG = Catalog((OTHER, PRESENT, *EARLIER), ())


def test_all_that_is_intact_is_tried_before_anything_is_salvaged() -> None:
    tried = list(load_attempts(CATALOG, PRESENT, StateLayout(FOLDER)))
    assert [state for state, _ in tried[:4]] == [state for state, _ in tried[4:]] == [PRESENT, *EARLIER, OTHER]
    assert [salvage for _, salvage in tried] == [False] * 4 + [True] * 4


def test_the_asked_for_run_is_tried_first() -> None:
    assert [state for state, _ in load_attempts(CATALOG, OTHER, StateLayout(FOLDER))][:4] == [OTHER, PRESENT, *EARLIER]


def test_of_nothing_there_is_nothing_to_try() -> None:
    assert list(load_attempts(Catalog((), ()), None, StateLayout(FOLDER))) == []


def report(loaded: SavedSummary, **changes: Any) -> LoadReport:
    kept = record(loaded.id, sequence=loaded.sequence, iteration_count=loaded.iteration_count)
    most = iterations_reached(PRESENT, loaded, {})
    plain = LoadReport(kept, (), (), None, PRESENT, fell_back=loaded is not PRESENT, reached=most, saved_first=None)
    return replace(plain, **changes)


def test_a_load_of_what_was_asked_for_has_nothing_to_say() -> None:
    assert report(PRESENT).remarks() == []


def test_a_load_that_fell_back_says_to_what_and_how_many_iterations_that_gave_up() -> None:
    assert report(EARLIER[1]).remarks() == [
        "Went back to the newest intact saved state: 60 iterations.",
        "That gave up 30 iterations.",
    ]


def test_going_back_to_another_run_or_to_the_same_iteration_gives_no_iterations_up() -> None:
    assert report(OTHER).remarks() == ["Went back to the newest intact saved state: 70 iterations."]
    same = replace(EARLIER[0], iteration_count=90)
    assert report(same).remarks() == ["Went back to the newest intact saved state: 90 iterations."]


def test_what_was_given_up_comes_before_the_warnings_and_both_before_the_outcome() -> None:
    told = report(EARLIER[0], gave_up=("given up",), warnings=("careful", "and this")).remarks()
    assert told[:3] == ["given up", "careful", "and this"]
    assert len(told) == 5


def test_a_newer_run_that_was_cut_off_is_pointed_out_and_said_to_be_kept() -> None:
    (told,) = report(PRESENT, newer=OTHER).remarks()
    for word in ("70 iterations", OTHER.saved_at, "is kept"):
        assert word in told


def test_a_reason_names_the_folder_the_file_and_what_is_wrong_with_it() -> None:
    error = DamagedFileError(OTHER.file, "is cut short")
    told = load_failure(OTHER.file, error)
    assert told == f"The saved state in {OTHER.file.parent} cannot be loaded: {WEIGHTS}: is cut short."


def test_a_run_has_reached_what_its_newest_save_says_or_its_metrics_hold() -> None:
    logs = {name: MetricsLog(RUN_A, rows, 300, 400) for name, rows in (("one", 95), ("other", 70))}
    assert iterations_reached(PRESENT, EARLIER[0], {}) == 90
    assert iterations_reached(PRESENT, EARLIER[0], logs) == 95
    assert iterations_reached(OTHER, EARLIER[0], logs) == 95
    assert iterations_reached(PRESENT, OTHER, {}) == 0
