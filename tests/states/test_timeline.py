"""What stands along a run's curves: its saves and those of the runs that it went on from, names, loads, going back, strikes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quadra.errors import DamagedFileError, IntegrityError
from quadra.states.timeline import timeline_of
from quadra.storage.labels import Label, write_labels
from quadra.storage.layout import LABELS, LABELS_COPY, StateLayout
from quadra.storage.save_record import MOST_EVENTS, RunEvents, dump, parse
from tests.helpers.model_helpers import poison_features
from tests.helpers.site import Site
from tests.helpers.state_helpers import new_run, opened, record, train


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "state")
    yield site
    site.close()


def marks(site: Site) -> dict[str, Any]:
    found: dict[str, Any] = site.http.get("/api/marks").get_json()
    return found


def test_without_a_run_there_are_no_marks(site: Site) -> None:
    assert marks(site) == {"run": None, "saves": [], "named": [], "branches": [], "loaded_at": [], "struck_at": []}


def test_saves_and_names_of_a_run_that_was_left_stay_on_the_curve_of_the_one_that_went_on(site: Site) -> None:
    site.train(120)
    left = site.worker.view().status.run
    assert left is not None
    site.ask("label_state", {"id": f"{left}@100", "name": "a hundred"})
    slot = site.ask("save_slot", {"name": "later"})["id"]
    found = marks(site)
    assert {100, 120} <= set(found["saves"])
    assert found["named"] == [
        {"iteration": 100, "name": "a hundred", "id": f"{left}@100"},
        {"iteration": 120, "name": "later", "id": slot},
    ]
    assert found["branches"] == []

    site.ask("load_state", {"source": f"{left}@100"})
    run = site.worker.view().status.run
    found = marks(site)
    assert found["run"] == run != left
    assert max(found["saves"]) == 100
    assert [mark["name"] for mark in found["named"]] == ["a hundred"]
    assert found["branches"] == [{"iteration": 100, "run": left, "went_on": True}]
    assert found["loaded_at"] == []

    site.ask("load_state", {"source": left})
    found = marks(site)
    assert found["branches"] == [{"iteration": 100, "run": run, "went_on": False}]
    assert found["loaded_at"] == [120]


def test_what_was_deleted_is_not_marked(site: Site) -> None:
    site.train(5)
    slot = site.ask("save_slot", {"name": "for a moment"})["id"]
    assert [mark["id"] for mark in marks(site)["named"]] == [slot]
    site.ask("delete_state", {"id": slot})
    assert marks(site)["named"] == []


def test_names_that_cannot_be_read_take_no_other_mark_away(tmp_path: Path) -> None:
    with opened(tmp_path / "state") as state:
        run = new_run(state, 10, "stopped")
        write_labels(tmp_path / "state", {run: Label(name="mine")})
        layout = StateLayout(tmp_path / "state")
        assert [mark["name"] for mark in timeline_of(layout, run, None, 10)["named"]] == ["mine"]
        for name in (LABELS, LABELS_COPY):
            (tmp_path / "state" / name).write_bytes(b"{")
        found = timeline_of(layout, run, None, 10)
    assert (found["saves"], found["named"]) == ([10], [])


def test_a_parent_that_is_gone_is_still_told(tmp_path: Path) -> None:
    with opened(tmp_path / "state") as state:
        run = new_run(state, 3, "stopped")
        found = timeline_of(StateLayout(tmp_path / "state"), run, f"{'f' * 16}@2", 3)
    assert found["branches"] == [{"iteration": 2, "run": "f" * 16, "went_on": True}]


def test_a_void_iteration_is_told_by_the_iteration_that_it_should_have_become(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path / "state") as state:
        new_run(state, 4)
        poison_features(monkeypatch, False, True, True, False, True, True, True)
        train(state, 2)
        assert state.run.events.struck_at == (6,)
        with pytest.raises(IntegrityError):
            state.step()
        assert (state.iteration_count, state.run.events.struck_at) == (6, (6, 7))


def test_loads_and_strikes_are_known_after_a_restart_and_on_a_restore_point(tmp_path: Path) -> None:
    with opened(tmp_path / "state") as state:
        run = new_run(state, 4, "stopped")
        state.run.events = state.run.events.with_void(3).with_load(4)
        train(state, 1)
        state.save()
    with opened(tmp_path / "state") as state:
        state.load()
        assert state.run.events == RunEvents(loaded_at=(4, 5), struck_at=(3,))
        train(state, 1)
        slot = state.save_slot("here")
    with opened(tmp_path / "state") as state:
        state.load(slot)
        assert state.run.id == run  # at its newest save: the run itself
        assert state.run.events == RunEvents(loaded_at=(4, 5, 6), struck_at=(3,))


def test_several_events_at_one_iteration_are_one_and_only_the_newest_are_kept() -> None:
    happened = RunEvents()
    for at in (5, 5, *range(10, 10 + MOST_EVENTS)):
        happened = happened.with_void(at).with_load(at)
    assert happened.struck_at == happened.loaded_at == tuple(range(10, 10 + MOST_EVENTS))


def test_a_record_tells_its_events_and_an_older_one_has_none() -> None:
    known = record(loaded_at=(1, 2), struck_at=(3,))
    assert parse(dump(known), "file") == known
    older = dump(known).replace(b'"loaded_at": [1, 2], ', b"").replace(b', "struck_at": [3]', b"")
    assert parse(older, "file").events == RunEvents()


@pytest.mark.parametrize("bad", ['"text"', "[-1]", "[1.5]", "[true]", "{}", "null", str([1] * (MOST_EVENTS + 1))])
def test_events_that_are_not_possible_are_damage(bad: str) -> None:
    content = dump(record(struck_at=(3,))).replace(b"[3]", bad.encode())
    with pytest.raises(DamagedFileError):
        parse(content, "file")
