"""The catalogue: which saved states there are, which one Load takes by default, and which one is newer."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from quadra.errors import DamagedFileError, MissingFileError, NewerFormatError
from quadra.storage.catalog import Catalog, read_catalog, summary_of
from quadra.storage.folder import StateFolder
from quadra.storage.layout import METRICS, RING, RUNS, SAVES, SET_ASIDE, SYSTEM, WEIGHTS
from quadra.storage.save_record import FORMAT_VERSION, SaveRecord, seal
from tests.helpers.state_helpers import RUN_A, RUN_B, RUN_C, record, run_python, write_earlier


def put(file: Path, kept: SaveRecord) -> None:
    """A weights file that carries a record; a catalogue reads no more of it."""
    buffer = io.BytesIO()
    zipfile.ZipFile(buffer, "w").close()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"".join(seal([buffer.getvalue()], kept)))


def at(minute: int, run: str, sequence: int = 1, load_rank: int = 0) -> SaveRecord:
    """A save at a minute; `load_rank` says that it was stopped or loaded."""
    return record(
        run, sequence=sequence, load_rank=load_rank, saved_at=f"2026-01-01T00:{minute:02}:00.000Z",
        iteration_count=10 * sequence, ended="stopped" if load_rank else "cut off",
    )  # fmt: skip


def catalog_of(path: Path, present: SaveRecord | None, *kept: SaveRecord) -> Catalog:
    """The catalogue of a folder with a present state and runs that were kept."""
    if present is not None:
        put(path / WEIGHTS, present)
    for run in kept:
        put(path / RUNS / run.run / WEIGHTS, run)
    with StateFolder(path) as folder:
        return read_catalog(folder.layout)


def test_an_empty_folder_has_no_saved_state(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, None)
    assert (catalog.states, catalog.unreadable) == ((), ())
    assert catalog.default is catalog.newest is catalog.newer_than(None) is None
    assert catalog.largest_load_rank == 0


def test_the_saved_states_are_one_per_run_newest_first(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, at(2, RUN_A, 1), at(3, RUN_B, 4), at(1, RUN_C, 9))
    assert [state.id for state in catalog.states] == [RUN_B, RUN_A, RUN_C]
    assert [state.iteration_count for state in catalog.states] == [40, 10, 90]
    assert [state.folder for state in catalog.states] == [tmp_path / RUNS / RUN_B, tmp_path, tmp_path / RUNS / RUN_C]


def test_a_run_that_stands_in_two_places_is_listed_at_its_newest_save(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, at(2, RUN_A, 5), at(1, RUN_A, 3))
    assert [(state.id, state.sequence, state.folder) for state in catalog.states] == [(RUN_A, 5, tmp_path)]
    assert len(catalog.copies) == 2


def test_a_copy_of_the_same_save_goes_before_the_present_files(tmp_path: Path) -> None:
    """A new run's first save may have replaced some of the present files before it was cut off."""
    catalog = catalog_of(tmp_path, at(2, RUN_A, 5), at(2, RUN_A, 5))
    assert catalog.states[0].folder == tmp_path / RUNS / RUN_A


def test_by_default_load_takes_the_run_that_was_stopped_though_a_newer_one_was_cut_off(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, at(9, RUN_B), at(1, RUN_A, load_rank=1))
    assert catalog.default is not None
    assert catalog.default.id == RUN_A


def test_by_default_load_takes_the_run_that_was_stopped_or_loaded_last(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, at(5, RUN_C, load_rank=2), at(1, RUN_A, load_rank=3), at(9, RUN_B, load_rank=1))
    assert catalog.default is not None
    assert catalog.default.id == RUN_A
    assert catalog.largest_load_rank == 3


def test_by_default_load_takes_a_chosen_run_at_its_newest_save(tmp_path: Path) -> None:
    """It was stopped, then trained on and cut off: the run is still the one that was stopped last."""
    went_on = replace(at(8, RUN_A, 7, load_rank=1), ended="cut off")
    catalog = catalog_of(tmp_path, went_on, at(2, RUN_A, 3, load_rank=1), at(9, RUN_B))
    assert catalog.default is not None
    assert (catalog.default.id, catalog.default.sequence) == (RUN_A, 7)


def test_where_no_run_was_stopped_load_takes_the_newest_save(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, at(3, RUN_A), at(7, RUN_B), at(5, RUN_C))
    assert catalog.default is not None
    assert catalog.default.id == RUN_B


def test_the_newest_is_the_newest_save_whether_stopped_or_not(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, at(3, RUN_A), at(1, RUN_B, load_rank=1))
    assert catalog.newest is not None
    assert catalog.newest.id == RUN_A


def test_of_two_saves_in_one_millisecond_the_later_one_is_newer(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, at(3, RUN_A, 4), at(3, RUN_B, 5))
    assert catalog.newest is not None
    assert catalog.newest.id == RUN_B


def test_a_newer_save_that_was_cut_off_is_pointed_out(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, at(9, RUN_B), at(1, RUN_A, load_rank=1))
    newer = catalog.newer_than(catalog.default)
    assert newer is not None
    assert newer.id == RUN_B


@pytest.mark.parametrize(
    ("present", "kept"),
    [
        (at(9, RUN_A, load_rank=1), at(1, RUN_B)),
        (at(9, RUN_A), at(1, RUN_A, load_rank=1)),
        (at(9, RUN_B, load_rank=1), at(1, RUN_A, load_rank=2)),
    ],
    ids=["older", "same run", "stopped too"],
)
def test_nothing_else_is_pointed_out_as_newer(tmp_path: Path, present: SaveRecord, kept: SaveRecord) -> None:
    catalog = catalog_of(tmp_path, present, kept)
    assert catalog.newer_than(catalog.default) is None


def test_day_3_of_the_brief(tmp_path: Path) -> None:
    """500 iterations, stopped; a new run of 100, closed without Stop: Load gives the 500 and points the 100 out."""
    stopped = replace(at(1, RUN_A, load_rank=1), iteration_count=500)
    closed = replace(at(2, RUN_B), iteration_count=100)
    catalog = catalog_of(tmp_path, closed, stopped)
    assert catalog.default is not None
    assert (catalog.default.iteration_count, catalog.default.ended) == (500, "stopped")
    newer = catalog.newer_than(catalog.default)
    assert newer is not None
    assert (newer.iteration_count, newer.ended) == (100, "cut off")


def test_what_can_be_tried_is_the_first_choice_then_every_other_copy_newest_first(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, at(5, RUN_A, 5), at(3, RUN_A, 3), at(4, RUN_B), at(1, RUN_C, load_rank=1))
    assert catalog.default is not None
    tried = [(state.id, state.sequence) for state in catalog.candidates(catalog.default)]
    assert tried == [(RUN_C, 1), (RUN_A, 5), (RUN_B, 1), (RUN_A, 3)]


def test_what_cannot_be_read_is_told_and_hides_nothing_else(tmp_path: Path) -> None:
    put(tmp_path / RUNS / RUN_B / WEIGHTS, replace(at(9, RUN_B), format_version=FORMAT_VERSION + 1))
    (tmp_path / RUNS / RUN_C).mkdir()
    (tmp_path / RUNS / RUN_C / SYSTEM).write_bytes(b"")
    (tmp_path / WEIGHTS).write_bytes(b"garbage")
    catalog = catalog_of(tmp_path, None, at(1, RUN_A))
    assert [state.id for state in catalog.states] == [RUN_A]
    assert {place: type(error) for place, error in catalog.unreadable} == {
        tmp_path / WEIGHTS: DamagedFileError,
        tmp_path / RUNS / RUN_B / WEIGHTS: NewerFormatError,
        tmp_path / RUNS / RUN_C / WEIGHTS: MissingFileError,
    }
    assert all(error.path == file for file, error in catalog.unreadable)


def with_ring(path: Path, *kept: SaveRecord) -> list[Path]:
    """Earlier saves of the present run; returns their files."""
    files = [path / SAVES / name for name in RING[: len(kept)]]
    for file, earlier in zip(files, kept, strict=True):
        put(file, earlier)
    return files


def test_earlier_saves_of_the_present_run_are_copies_and_the_run_is_listed_once_at_its_newest(tmp_path: Path) -> None:
    files = with_ring(tmp_path, at(4, RUN_A, 4), at(2, RUN_A, 2))
    catalog = catalog_of(tmp_path, at(5, RUN_A, 5), at(3, RUN_B))
    assert [(state.id, state.sequence) for state in catalog.states] == [(RUN_A, 5), (RUN_B, 1)]
    assert [copy.file for copy in catalog.copies if copy.is_earlier_save] == files
    assert {copy.folder for copy in catalog.copies if copy.id == RUN_A} == {tmp_path}


def test_earlier_saves_are_tried_newest_first_when_the_present_one_is_bad(tmp_path: Path) -> None:
    with_ring(tmp_path, at(4, RUN_A, 4), at(2, RUN_A, 2), at(3, RUN_A, 3))
    catalog = catalog_of(tmp_path, at(5, RUN_A, 5, load_rank=1), at(6, RUN_B))
    assert catalog.default is not None
    tried = [(state.id, state.sequence) for state in catalog.candidates(catalog.default)]
    assert tried == [(RUN_A, 5), (RUN_A, 4), (RUN_A, 3), (RUN_A, 2), (RUN_B, 1)]


def test_an_earlier_save_stands_for_its_run_only_where_nothing_newer_does(tmp_path: Path) -> None:
    with_ring(tmp_path, at(4, RUN_A, 4), at(2, RUN_A, 2))
    (tmp_path / WEIGHTS).write_bytes(b"garbage")
    catalog = catalog_of(tmp_path, None)
    assert [(state.id, state.sequence) for state in catalog.states] == [(RUN_A, 4)]
    assert [file for file, _ in catalog.unreadable] == [tmp_path / WEIGHTS]
    stands = catalog_of(tmp_path, None, at(4, RUN_A, 4))
    assert [(state.sequence, state.folder) for state in stands.states] == [(4, tmp_path / RUNS / RUN_A)]
    older = catalog_of(tmp_path, at(3, RUN_A, 3))  # as where somebody has exchanged two files
    assert [state.sequence for state in older.states if state.id == RUN_A] == [4]


def test_only_the_rings_own_names_are_earlier_saves_and_no_link_is_followed(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere" / "0.pth", at(3, RUN_C))
    put(tmp_path / SAVES / "mine.pth", at(3, RUN_B))
    put(tmp_path / SAVES / ".0.pth.tmp", at(3, RUN_B))
    (tmp_path / SAVES / "1.pth").symlink_to(tmp_path / "elsewhere" / "0.pth")
    assert [copy.id for copy in catalog_of(tmp_path, at(5, RUN_A)).copies] == [RUN_A]
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / SAVES).symlink_to(tmp_path / "elsewhere")
    assert catalog_of(tmp_path / "state", None).copies == ()


def test_a_save_takes_the_place_of_the_copy_in_its_file(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, at(5, RUN_A, 5), at(3, RUN_B))
    after = catalog.with_copy(summary_of(at(6, RUN_A, 6), tmp_path / WEIGHTS, tmp_path))
    assert [(state.id, state.sequence) for state in after.states] == [(RUN_A, 6), (RUN_B, 1)]
    assert len(after.copies) == 2


def test_metrics_alone_are_a_first_save_that_was_cut_off_and_nothing_to_load(tmp_path: Path) -> None:
    (tmp_path / METRICS).write_bytes(b"the first of three files")
    catalog = catalog_of(tmp_path, None)
    assert (catalog.states, catalog.unreadable) == ((), ())


def test_only_runs_are_listed(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere" / WEIGHTS, at(3, RUN_C))
    put(tmp_path / RUNS / "my copy" / WEIGHTS, at(3, RUN_A))
    put(tmp_path / RUNS / f".{RUN_B}.tmp" / WEIGHTS, at(3, RUN_B))
    put(tmp_path / SET_ASIDE / "20260101T000000Z" / WEIGHTS, at(3, RUN_B))
    (tmp_path / RUNS / RUN_C).symlink_to(tmp_path / "elsewhere")
    assert catalog_of(tmp_path, at(1, RUN_A, load_rank=1)).states[0].folder == tmp_path
    assert len(catalog_of(tmp_path, None).copies) == 1


def test_a_state_is_told_without_where_it_lies(tmp_path: Path) -> None:
    told = catalog_of(tmp_path, at(1, RUN_A, load_rank=1)).states[0].as_dict()
    assert told == {
        "id": RUN_A, "iteration_count": 10, "saved_at": "2026-01-01T00:01:00.000Z", "ended": "stopped",
        "field_size": 8, "seed": 1,
    }  # fmt: skip


def test_a_folder_of_the_earlier_generation_is_listed(tmp_path: Path) -> None:
    write_earlier(tmp_path)
    with StateFolder(tmp_path) as folder:
        (state,) = read_catalog(folder.layout).states
        assert (state.iteration_count, state.field_size, state.seed) == (4, 6, None)
        assert read_catalog(folder.layout).states == (state,)


def test_a_stopped_run_goes_before_a_newer_one_of_the_earlier_generation_that_nobody_chose(tmp_path: Path) -> None:
    write_earlier(tmp_path)
    catalog = catalog_of(tmp_path, None, at(1, RUN_A, load_rank=1))
    assert catalog.default is not None
    assert catalog.default.id == RUN_A


@pytest.mark.process
def test_reading_a_catalogue_needs_no_torch() -> None:
    assert run_python("import quadra.storage.catalog, sys; print('torch' in sys.modules)") == "False\n"
