"""Fault loops over saving and loading, in the manner of SQLite's tests: the k-th operation fails, k = 1, 2, 3 ...

Every run here is a function of its seed, so a saved state is right when it has, to the bit, what an uninterrupted run
with that seed has at that iteration: nothing is recorded, and nothing can be recorded wrongly.
"""

from __future__ import annotations

import hashlib
import pickle
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch

from quadra import TrainingConfig, TrainingState
from quadra.errors import BadFileError, QuadraError
from quadra.model.corpus import Corpus
from quadra.model.engine import Engine
from quadra.reports.check import check
from quadra.storage import saved_state, weights_file
from quadra.storage.catalog import Catalog, SavedSummary, read_catalog
from quadra.storage.layout import METRICS, SAVES, SYSTEM, WEIGHTS, StateLayout
from quadra.storage.restore_points import BUDGET, Retention
from quadra.storage.saved_state import read_save
from tests.helpers.faults import FAULTS, SHORT_WRITE, Death, Disk, Image, Operation, PowerCuts, image_of, write_image
from tests.helpers.rotation import EVERYTHING, Draw
from tests.helpers.state_helpers import small_config, train

POWER_CUT = "power cut"
ALL_FAULTS = (*FAULTS, POWER_CUT)
FIRST, SECOND, THIRD = 1, 2, 3  # seeds of the runs
_POINTS_OF_A_RECOVERY = 2  # at which the power goes again, where not everything is tried
_PARTS = (
    "field_update", "syntropy", "feedback", "optimizer", "field", "syntropy_fields", "centroids", "wins", "q_table",
    "generators", "neuroplasticity", "corpus", "newest", "iteration_count",
)  # fmt: skip
_HISTORIES = ("loss_history", "reward_history", "variance_history", "field_mean_history")


def tiny_config(seed: int) -> TrainingConfig:
    """A run whose iterations take a moment."""
    return small_config(seed=seed, field_size=4, time_steps=2, epochs=1, synthetic_samples=1)


def opened(folder: Path, seed: int = FIRST, budget: int = BUDGET) -> TrainingState:
    """A TrainingState for tiny runs."""
    return TrainingState(folder, tiny_config(seed), retention=Retention(budget))


def fingerprint(engine: Mapping[str, Any], rows: np.ndarray[Any, Any]) -> str:
    """A checksum over every bit that training reads, and all four histories."""
    digest = hashlib.sha256(np.ascontiguousarray(rows).tobytes())
    _take(digest, [engine[part] for part in _PARTS])
    return digest.hexdigest()


def _take(digest: Any, value: object) -> None:
    digest.update(type(value).__name__.encode())
    if isinstance(value, torch.Tensor):
        value = value.detach().contiguous().numpy()
    if isinstance(value, np.ndarray):
        digest.update(f"{value.dtype}{value.shape}".encode() + value.tobytes())
    elif isinstance(value, Mapping):
        for key in sorted(value):
            _take(digest, key)
            _take(digest, value[key])
    elif isinstance(value, list | tuple):
        for entry in value:
            _take(digest, entry)
    else:
        digest.update(value.hex().encode() if isinstance(value, float) else repr(value).encode())


class UninterruptedRun:
    """What the run with a seed is at each iteration when nothing ever happens to it."""

    def __init__(self, seed: int) -> None:
        self._engine = Engine(tiny_config(seed), Corpus())
        self._rows: list[tuple[float, float, float, float]] = []
        self._prints = [self._print()]

    def _print(self) -> str:
        return fingerprint(self._engine.state_dict(), np.array(self._rows, np.float32).reshape(-1, 4))

    def at(self, iteration: int) -> str:
        """Its fingerprint."""
        while len(self._prints) <= iteration:
            result = self._engine.step()
            self._rows.append((result.loss, result.reward, result.variance, result.mean))
            self._prints.append(self._print())
        return self._prints[iteration]


_RUNS: dict[int, UninterruptedRun] = {}


def expected(seed: int, iteration: int) -> str:
    """The fingerprint of the run with this seed at this iteration."""
    if seed not in _RUNS:
        _RUNS[seed] = UninterruptedRun(seed)
    return _RUNS[seed].at(iteration)


def assert_true_to_its_run(state: TrainingState) -> None:
    """What is in memory is what the uninterrupted run has at this iteration."""
    found = fingerprint(state.engine.state_dict(), state.history.rows())
    assert found == expected(state.config.seed or 0, state.iteration_count), "not the bits of the uninterrupted run"


@contextmanager
def decoding_remembered() -> Iterator[None]:
    """Decode the same archive once only: torch takes milliseconds for it, and the loops read the same ones over and over.

    The seal behind the archive is still verified each time; it says whether the archive is what it was.
    """
    known: dict[bytes, dict[str, Any]] = {}

    def decode(content: bytes, file: str | Path) -> dict[str, Any]:
        archive = content[: content.rfind(b"PK\x05\x06")]
        if archive not in known:
            known[archive] = weights_file.decode(content, file)
        copied = _copied(known[archive])
        assert isinstance(copied, dict)
        return copied

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saved_state, "decode", decode)
        yield


def _copied(value: object) -> object:
    """The dictionaries anew; what is in them is never changed."""
    return {key: _copied(entry) for key, entry in value.items()} if type(value) is dict else value


Saved = Mapping[int, int]  # by seed, the iteration of the newest save that was confirmed


@dataclass(frozen=True)
class Scenario:
    """An operation, what stands in the folder before it, and what must be there whatever happens in it."""

    name: str
    build: Callable[[Path], None]  # makes what stands on the disk, below a root folder
    act: Callable[[Stage], None]
    prepare: Callable[[Stage], None] = lambda stage: None
    before: Saved = field(default_factory=dict)
    after: Saved = field(default_factory=dict)  # once it has succeeded
    lost_rows: tuple[int, ...] = ()  # iterations whose metrics are lost before the operation already
    clears: bool = False  # whether it deletes everything
    opens: bool = False  # whether there is no state before it
    again: bool = False  # whether it is done again after an error, instead of a save
    keeps: tuple[int, ...] = ()  # iterations of saves that must be there at any time
    budget: int = BUDGET  # bytes for restore points


class Stage:
    """One performance of a scenario, in a folder of its own."""

    def __init__(self, scenario: Scenario, root: Path) -> None:
        self.root, self.folder = root, root / "state"
        self.state: TrainingState | None = None
        self.scenario = scenario

    @property
    def run(self) -> TrainingState:
        """The open state."""
        assert self.state is not None
        return self.state

    def open(self) -> TrainingState:
        """Open the folder."""
        self.state = opened(self.folder, budget=self.scenario.budget)
        return self.state

    def end(self) -> None:
        """Let go of everything, as the end of the process does; touches no file."""
        if self.state is not None:
            self.state.release()


class Stages:
    """Makes stages of one scenario, each from a copy of what was built once."""

    def __init__(self, scenario: Scenario, place: Path) -> None:
        self.scenario, self._place, self._count = scenario, place, 0
        self._built = place / "built"
        self._built.mkdir(parents=True)
        with Disk(self._built):
            scenario.build(self._built)

    def new_root(self) -> Path:
        """A name for a folder that is not there yet."""
        self._count += 1
        return self._place / str(self._count)

    def set_up(self) -> Stage:
        """A stage on which nothing was played yet."""
        root = self.new_root()
        shutil.copytree(self._built, root)
        return Stage(self.scenario, root)

    @cached_property
    def undisturbed(self) -> tuple[Image, list[Operation], list[str]]:
        """What stands on the disk before the scenario, what it does to it, and the operations that it asks for."""
        stage = self.set_up()
        with Disk(stage.root) as disk:
            if not self.scenario.opens:
                stage.open()
            self.scenario.prepare(stage)
            before = image_of(stage.root)
            disk.arm()
            self.scenario.act(stage)
            journal, calls = disk.journal, disk.calls
            disk.disarm()
            stage.end()
        shutil.rmtree(stage.root)
        return before, journal, calls

    def operations(self, fault: str) -> range:
        """The numbers of the operations that can have a fault; of short writes only writes are counted."""
        _, _, calls = self.undisturbed
        return range(1, (calls.count("write") if fault == SHORT_WRITE else len(calls)) + 1)

    def power_cuts(self) -> range:
        """The points at which the power can go: 0 is before the scenario."""
        _, journal, _ = self.undisturbed
        return range(len(journal) + 1)


@dataclass
class Tally:
    """What was tried: how many points, by operation and fault."""

    points: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, operation: str, fault: str) -> None:
        """One more."""
        self.points[operation, fault] += 1

    def total(self, fault: str) -> int:
        """Points of one fault."""
        return sum(count for (_, kind), count in self.points.items() if kind == fault)


def fail_everywhere(stages: Stages, fault: str, lasting: bool, tally: Tally) -> None:
    """Let each operation fail in turn, until the scenario gets through without meeting the fault."""
    number = 1
    with decoding_remembered():
        while _fail_at(stages, number, fault, lasting, tally):
            number += 1


def fail_at(stages: Stages, numbers: Sequence[int], fault: str, lasting: bool, tally: Tally) -> None:
    """Let the operations with these numbers, counted from 1, fail in turn."""
    with decoding_remembered():
        for number in numbers:
            _fail_at(stages, number, fault, lasting, tally)


def _fail_at(stages: Stages, number: int, fault: str, lasting: bool, tally: Tally) -> bool:
    stage = stages.set_up()
    where = f"{stages.scenario.name}: {fault}{' for ever' if lasting else ''} at operation {number}"
    try:
        with Disk(stage.root) as disk:
            if not stages.scenario.opens:
                stage.open()
            stages.scenario.prepare(stage)
            disk.arm(number, fault, lasting)
            confirmed = _play(stage)
            happened, died = disk.happened, disk.is_dead
            disk.disarm()
            if happened:
                tally.add(disk.failed_call, fault)
            if died:
                stage.end()
                disk.bury()
            elif happened:
                confirmed = _go_on_after_error(stage, confirmed)
            stage.end()
            if happened:
                verify(stage, confirmed, thorough=number % 5 == 1)
        return happened
    except Exception as error:
        raise AssertionError(where) from error
    finally:
        shutil.rmtree(stage.root)


def _play(stage: Stage) -> Saved:
    """Act; returns what is confirmed afterwards."""
    scenario = stage.scenario
    try:
        scenario.act(stage)
    except Death:
        return {} if scenario.clears else scenario.before
    except (QuadraError, OSError) as error:
        assert isinstance(error, QuadraError) or scenario.clears, f"no error of our own: {error!r}"
        return {} if scenario.clears else scenario.before
    return scenario.after


def _go_on_after_error(stage: Stage, confirmed: Saved) -> Saved:
    """After an error, not a death, the state in memory is unharmed and can be saved."""
    state = stage.state if stage.state is not None else stage.open()
    if not state.folder.is_held:  # it was closed, or given up in the attempt to close it
        return confirmed
    if not state.is_initialized:
        if not stage.scenario.clears:
            return confirmed
        state.initialize(seed=THIRD)
        train(state, 1)
    if not stage.scenario.lost_rows:
        assert_true_to_its_run(state)
    if stage.scenario.again:
        stage.scenario.act(stage)
    else:
        assert state.save_state(), "a later save does not work"
    return {**confirmed, state.config.seed or 0: state.iteration_count}


def cut_power_at(
    stages: Stages, numbers: Collection[int], tally: Tally, subsets: int, nested: int = 0, recovery: Draw = EVERYTHING
) -> None:
    """Look at what the disk may hold after a power cut at these points.

    `nested`: at every so many-th image, the recovery from it is cut as well, at those of its points that `recovery` draws.
    """
    scenario, seen = stages.scenario, set[tuple[bool, int]]()
    before, journal, _ = stages.undisturbed
    with decoding_remembered():
        for number, (name, images) in enumerate(_images(before, journal, subsets)):
            if number not in numbers:
                continue
            done = number == len(journal)
            confirmed = scenario.after if done else {} if scenario.clears and number else scenario.before
            for kind, image in images:
                tally.add(name, POWER_CUT)
                key = (done, _key_of(image))
                if key in seen:
                    continue
                seen.add(key)
                where = f"{scenario.name}: power cut after operation {number} ({name}), {kind}"
                recut = recovery if nested and len(seen) % nested == 0 else None
                _look_at(stages, image, confirmed, where, done, recut, thorough=done or len(seen) % 5 == 1)


def _images(
    before: Image, journal: Sequence[Operation], subsets: int
) -> Iterator[tuple[str, list[tuple[str, Image]]]]:  # fmt: skip
    cuts, chance = PowerCuts(before), Random(4)
    for operation in (None, *journal):
        if operation is not None:
            cuts.advance(operation)
        images = [("nothing unsynced survives", cuts.nothing_unsynced()), ("everything survives", cuts.everything())]
        images += [(f"random part {part}", cuts.something(chance)) for part in range(subsets)]
        yield (operation.name if operation else "before any"), images


def _key_of(image: Image) -> int:
    return hash(tuple(image.items()))


def _look_at(
    stages: Stages, image: Image, confirmed: Saved, where: str, done: bool = False, recut: Draw | None = None,
    thorough: bool = False,
) -> None:  # fmt: skip
    stage = Stage(stages.scenario, write_image(image, stages.new_root()))
    try:
        with Disk(stage.root) as disk:
            disk.arm()
            verify(stage, confirmed, thorough, cleared=done and stages.scenario.clears)
            journal = disk.journal
        if recut is not None:
            _recut(stages, image, journal, confirmed, recut)
    except Exception as error:
        raise AssertionError(where) from error
    finally:
        shutil.rmtree(stage.root)


def _recut(stages: Stages, image: Image, journal: Sequence[Operation], confirmed: Saved, draw: Draw) -> None:
    """The power goes again while the folder is opened and loaded after a power cut."""
    seen: set[int] = set()
    numbers = draw(range(len(journal) + 1), _POINTS_OF_A_RECOVERY)
    for number, (_, images) in enumerate(_images(image, journal, subsets=1)):
        if number not in numbers:
            continue
        for kind, again in images:
            if _key_of(again) not in seen:
                seen.add(_key_of(again))
                where = f"again, in the recovery, after operation {number}, {kind}"
                _look_at(stages, again, confirmed, where)


def verify(stage: Stage, confirmed: Saved, thorough: bool = False, cleared: bool = False) -> None:
    """Open the folder again: everything that can be loaded is a state that was saved, and all that was confirmed is.

    `thorough`: every save in the folder is checked after the load, and training goes on.
    """
    scenario = stage.scenario
    assert_stock_tools_read(stage.folder, thorough)
    state = opened(stage.folder)
    try:
        catalog = read_catalog(StateLayout(stage.folder))
        if cleared:
            assert not catalog.copies, "a reset that was confirmed left something to load"
        if not catalog.copies:
            assert not confirmed, "nothing is left to load"
            assert not catalog.unreadable, f"there is no save, but something in its place: {catalog.unreadable}"
            return
        default = catalog.default
        assert default is not None
        assert_kept(catalog, {seed: count for seed, count in confirmed.items() if seed != default.seed or thorough})
        assert {copy.iteration_count for copy in catalog.copies} >= set(scenario.keeps)
        assert_slots_whole(stage.folder)
        if scenario.budget != BUDGET:
            assert_some_point_whole(stage.folder)
        state.load()
        assert_loaded(state, scenario, confirmed)
        if thorough:
            found = [finding.text for finding in check(stage.folder) if not finding.is_good]
            if scenario.lost_rows:  # earlier saves count on the rows that are lost
                found = [text for text in found if not text.startswith(SAVES)]
            assert not found, found
            train(state, 2)
            assert_loaded(state, scenario, confirmed)
    finally:
        state.release()


def assert_slots_whole(folder: Path) -> None:
    """Whatever named state is listed can be loaded, and is true to its run."""
    for place in StateLayout(folder).slot_folders():
        saved = read_save(place / WEIGHTS, place)
        assert not saved.damaged
        found = fingerprint(saved.engine, saved.rows)
        assert found == expected(saved.config.seed or 0, saved.record.iteration_count)


def assert_some_point_whole(folder: Path) -> None:
    """No restore point goes before the one that supersedes it is there to stay."""
    layout = StateLayout(folder)
    points = [point for run in layout.restore_point_folders() for point in layout.restore_points_of(run.name)]
    assert points
    for point in points:
        saved = read_save(point, folder)
        found = fingerprint(saved.engine, saved.rows)
        assert found == expected(saved.config.seed or 0, saved.record.iteration_count)


def assert_kept(catalog: Catalog, confirmed: Saved) -> None:
    """For every run with a confirmed save there is one, no older, that can be read; it is true to its run."""
    for seed, iteration in confirmed.items():
        newest = [copy for copy in catalog.states if copy.seed == seed]
        assert newest, f"the run with seed {seed} is gone"
        copies = [copy for copy in catalog.candidates(newest[0]) if copy.seed == seed]
        _assert_first_readable(copies, iteration)


def _assert_first_readable(copies: Sequence[SavedSummary], iteration: int) -> None:
    for copy, salvage in [*((copy, False) for copy in copies), (copies[0], True)]:
        try:
            saved = read_save(copy.file, copy.folder, salvage)
        except BadFileError:  # damaged before the scenario began: the next one has to do
            continue
        if np.isfinite(saved.rows).all():
            found = fingerprint(saved.engine, saved.rows)
            assert found == expected(copy.seed or 0, copy.iteration_count), f"{copy.file} holds what was never saved"
        assert copy.iteration_count >= iteration, f"{copy.iteration_count} is older than {iteration}"
        return
    raise AssertionError(f"no save of {copies[0].id} can be read")


def assert_loaded(state: TrainingState, scenario: Scenario, confirmed: Saved) -> None:
    """What was loaded is true to its run, and no older than was confirmed."""
    assert state.iteration_count >= confirmed.get(state.config.seed or 0, 0), f"{state.iteration_count} is too old"
    if scenario.lost_rows:
        lost = np.isnan(state.history.rows()).all(1)
        assert tuple(np.flatnonzero(lost) + 1) == scenario.lost_rows, "other rows are lost than those that were damaged"
    else:
        assert_true_to_its_run(state)


def assert_stock_tools_read(folder: Path, weights_too: bool = True) -> None:
    """Each of the three files that is there opens with stock tools."""
    if (folder / METRICS).exists():
        with (folder / METRICS).open("rb") as stream:
            values = pickle.load(stream)
        assert len({len(values[name]) for name in _HISTORIES} | {values["iteration_count"]}) == 1
    if (folder / SYSTEM).exists():
        with (folder / SYSTEM).open("rb") as stream:
            assert pickle.load(stream)["is_initialized"] is True
    if weights_too and (folder / WEIGHTS).exists():
        assert torch.load(folder / WEIGHTS, weights_only=True)["iteration_count"] >= 0


def begin_and_wait(state: TrainingState) -> None:
    """An auto-save, with its outcome."""
    state.saving.begin()
    state.saving.wait()
    state.saving.collect()
