"""Everything that the program does to a state directory, as scenarios for fault loops."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from quadra.errors import SaveError
from quadra.storage.layout import METRICS, METRICS_COPY, RESET_MARKER, RUNS, SAVES, WEIGHTS
from tests.helpers.fault_loops import FIRST, SECOND, THIRD, Scenario, Stage, begin_and_wait, opened
from tests.helpers.state_helpers import train

_NEWEST, _BEFORE = 10, 9  # iterations of the last two saves of the first run
_OTHER = 4  # iteration of the only kept save of the second run


def nothing(root: Path) -> None:
    """An empty folder for the state directory."""
    root.joinpath("state").mkdir()


def one_run(root: Path) -> None:
    """A run with earlier saves, stopped at iteration 10."""
    with opened(root / "state", seed=FIRST) as state:
        state.initialize()
        for _ in range(3):
            train(state, 3)
            begin_and_wait(state)
        train(state, 1)
        state.save("stopped")


def two_runs(root: Path) -> None:
    """The same, with an earlier run in `runs/`."""
    with opened(root / "state", seed=SECOND) as state:
        state.initialize()
        train(state, _OTHER)
        state.save("stopped")
    one_run(root)


def damaged(*names: str) -> Callable[[Path], None]:
    """One run, with a byte changed in the midst of some files."""

    def build(root: Path) -> None:
        one_run(root)
        for name in names:
            path = root / "state" / name
            _flip(path, path.stat().st_size // 2)

    return build


def with_slot(root: Path) -> None:
    """One run, and a state of it under a name."""
    one_run(root)
    with opened(root / "state", seed=FIRST) as state:
        state.load()
        state.save_slot(_NAME)


def with_point(root: Path) -> None:
    """One run with a restore point, an iteration before its next one."""
    with opened(root / "state", seed=FIRST) as state:
        state.initialize()
        for until in (100, 199):
            train(state, until - state.iteration_count)
            state.save("stopped")


def other_run_deleted(root: Path) -> None:
    """Two runs, of which the one in `runs/` was deleted."""
    two_runs(root)
    with opened(root / "state", seed=FIRST) as state:
        state.load()
        state.saved_states.delete(next(saved.id for saved in state.catalog().states if saved.seed == SECOND))


def all_metrics_damaged(root: Path) -> None:
    """One run, saved whole each time; the same rows are damaged in both metrics files, so that no save is intact."""
    with opened(root / "state", seed=FIRST) as state:
        state.initialize()
        for count in (3, 3, 4):
            train(state, count)
            state.save()
        first_rows = state.loss_history[:3].tobytes()
    for path in (root / "state" / METRICS, root / "state" / SAVES / METRICS_COPY):
        _flip(path, path.read_bytes().index(first_rows))


def _flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def left_over(root: Path) -> None:
    """One run, and what a killed process left behind."""
    two_runs(root)
    state = root / "state"
    (state / f".{WEIGHTS}.tmp").write_bytes(b"half")
    (state / f".{METRICS}.tmp").write_bytes(b"half")
    (state / SAVES / ".0.pth.tmp").write_bytes(b"half")
    folder = state / RUNS / f".{'d' * 16}.tmp"
    folder.mkdir()
    (folder / WEIGHTS).write_bytes(b"half")


def cut_reset(root: Path) -> None:
    """Two runs, and a reset that was cut off at its beginning."""
    two_runs(root)
    (root / "state" / RESET_MARKER).touch()


def something_of_the_users(root: Path) -> None:
    """Two runs, and files of the user's in all our folders."""
    two_runs(root)
    state = root / "state"
    for folder in (state, state / SAVES, *(state / RUNS).iterdir()):
        (folder / "notes.txt").write_text("mine")


def load(stage: Stage) -> None:
    """Load what is loaded by default."""
    stage.run.load()


def load_and_train(stage: Stage) -> None:
    """Two iterations that are not saved yet."""
    load(stage)
    train(stage.run, 2)


def initialize(stage: Stage) -> None:
    """A new run with three iterations."""
    stage.run.initialize(seed=FIRST)
    train(stage.run, 3)


def load_and_begin_another(stage: Stage) -> None:
    """A new run beside what stands on the disk."""
    load(stage)
    stage.run.initialize(seed=THIRD)
    train(stage.run, 2)


def begin_another(stage: Stage) -> None:
    """The same without a look at what stands there."""
    stage.run.initialize(seed=THIRD)
    train(stage.run, 2)


def fragment(stage: Stage) -> None:
    """So many small appends that the next full save writes the metrics file anew."""
    load(stage)
    for _ in range(14):
        train(stage.run, 1)
        stage.run.save()
    train(stage.run, 2)


def auto_save(stage: Stage) -> None:
    """As the worker does it."""
    begin_and_wait(stage.run)


def three_auto_saves(stage: Stage) -> None:
    """One after the other."""
    auto_save(stage)
    for _ in range(2):
        train(stage.run, 1)
        auto_save(stage)


def save(stage: Stage) -> None:
    """All three files."""
    stage.run.save()


def stop(stage: Stage) -> None:
    """As the worker does it."""
    stage.run.save("stopped")


def close(stage: Stage) -> None:
    """With unsaved iterations."""
    state = stage.run
    state.close()
    if state.saving.is_unsaved:  # it has only logged why
        raise SaveError("not saved")


def load_the_other(stage: Stage) -> None:
    """The run that stands in `runs/`."""
    source = next(state.id for state in stage.run.catalog().states if state.seed == SECOND)
    stage.run.load(source)


def save_by_name(stage: Stage) -> None:
    """A named state while training."""
    stage.run.save_slot("another")


def overwrite_name(stage: Stage) -> None:
    """A named state in the place of another one."""
    stage.run.save_slot(_NAME, overwrite=True)


def go_back(stage: Stage) -> None:
    """To an earlier save, as a run of its own."""
    stage.run.load(f"{stage.run.run.id}@{_BEFORE}")


def train_to_the_point(stage: Stage) -> None:
    """The next save becomes a restore point."""
    load(stage)
    train(stage.run, 1)


def purge(stage: Stage) -> None:
    """Remove what was deleted long ago."""
    stage.run.saved_states.purge(datetime.now(UTC) + timedelta(days=1))


def reset(stage: Stage) -> None:
    """Clear memory and disk."""
    stage.run.reset()


def exchange_folder(stage: Stage) -> None:
    """Put another run's folder into the place of the open one."""
    load_and_train(stage)
    shutil.rmtree(stage.folder)
    with opened(stage.root / "other", seed=SECOND) as state:
        state.initialize()
        train(state, _OTHER)
        state.save("stopped")
    (stage.root / "other").rename(stage.folder)


def go_on_as_new_run(stage: Stage) -> None:
    """Save the run in memory beside what was put there."""
    stage.run.go_on_as_new_run()


def open_folder(stage: Stage) -> None:
    """Open a state directory, which clears what was left over."""
    stage.state = None
    stage.open()


def make_folder(stage: Stage) -> None:
    """Open one that is not there yet."""
    stage.folder = stage.root / "new" / "state"
    open_folder(stage)


def _only_root(root: Path) -> None:
    del root


_NAME = "named"
_ONE = {FIRST: _NEWEST}
_TWO = {FIRST: _NEWEST, SECOND: _OTHER}

SCENARIOS = (
    Scenario("first save", nothing, save, initialize, {}, {FIRST: 3}),
    Scenario("auto-save", one_run, auto_save, load_and_train, _ONE, {FIRST: 12}),
    Scenario("three auto-saves", one_run, three_auto_saves, load_and_train, _ONE, {FIRST: 14}),
    Scenario("full save", one_run, save, load_and_train, _ONE, {FIRST: 12}),
    Scenario("save with metrics rewritten", one_run, save, fragment, {FIRST: 24}, {FIRST: 26}),
    Scenario("stop", one_run, stop, load_and_train, _ONE, {FIRST: 12}),
    Scenario("close", one_run, close, load_and_train, _ONE, {FIRST: 12}),
    Scenario("new run", two_runs, save, load_and_begin_another, _TWO, {**_TWO, THIRD: 2}),
    Scenario("new run beside damaged weights", damaged(WEIGHTS), save, begin_another, {FIRST: 9}, {FIRST: 9, THIRD: 2}),
    Scenario("load another run", two_runs, load_the_other, load, _TWO, _TWO),
    Scenario("load another run after training", two_runs, load_the_other, load_and_train, _TWO, {**_TWO, FIRST: 12}),
    Scenario("load", two_runs, load, before=_TWO, after=_TWO),
    Scenario("load with damaged weights", damaged(WEIGHTS), load, before={FIRST: 9}, after={FIRST: 9}),
    Scenario("load with damaged metrics", damaged(METRICS), load, before=_ONE, after=_ONE),
    Scenario(
        "load with all metrics damaged", all_metrics_damaged, load, before=_ONE, after=_ONE,
        lost_rows=(1, 2, 3),
    ),
    Scenario("save by name", one_run, save_by_name, load_and_train, _ONE, {FIRST: 12}),
    Scenario("overwrite a name", with_slot, overwrite_name, load_and_train, _ONE, {FIRST: 12}),
    Scenario("go back", one_run, go_back, load, {FIRST: _BEFORE}, {FIRST: _BEFORE}, keeps=(_NEWEST,)),
    Scenario(
        "restore point for another", with_point, auto_save, train_to_the_point, {FIRST: 199}, {FIRST: 200}, budget=0,
    ),
    Scenario("remove a deleted run", other_run_deleted, purge, load, _ONE, _ONE),
    Scenario("reset", two_runs, reset, load, _TWO, {}, clears=True),
    Scenario("reset beside files of the user's", something_of_the_users, reset, load, _TWO, {}, clears=True),
    Scenario(
        "go on as a new run", one_run, go_on_as_new_run, exchange_folder, {SECOND: _OTHER}, {FIRST: 12, SECOND: 4},
        again=True,
    ),
    Scenario("open", left_over, open_folder, before=_TWO, after=_TWO, opens=True),
    Scenario("open after a cut reset", cut_reset, open_folder, before={}, after={}, opens=True, clears=True),
    Scenario("make the folder", _only_root, make_folder, opens=True),
)  # fmt: skip
