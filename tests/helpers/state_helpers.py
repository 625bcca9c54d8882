"""What the tests of saving and loading share: small runs, crashes, and folders of the earlier generation."""

from __future__ import annotations

import io
import marshal
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from quadra import TrainingConfig, TrainingState
from quadra.model.corpus import Corpus
from quadra.model.engine import Engine
from quadra.model.history import History
from quadra.model.packing import packed, unpacked
from quadra.model.run_buffers import Snapshot
from quadra.storage import metrics_file as metrics
from quadra.storage import weights_entries
from quadra.storage.files.durable import Piece
from quadra.storage.files.lock import LOCK
from quadra.storage.files.zip_writer import archive_pieces
from quadra.storage.folder import StateFolder
from quadra.storage.layout import FILES, METRICS, SYSTEM, WEIGHTS
from quadra.storage.pending_save import Receipt
from quadra.storage.save_record import Ended, SaveRecord, seal
from quadra.storage.save_store import Save, SaveStore
from quadra.storage.saved_state import SavedState, read
from quadra.storage.system_file import encode_system
from quadra.storage.weights_entries import archive_entries
from quadra.storage.weights_file import WeightsEncoder, bytes_of
from tests.helpers.model_helpers import differences
from tests.helpers.waiting import PATIENCE

REPOSITORY = Path(__file__).resolve().parents[2]
RUN_A, RUN_B, RUN_C = "a" * 16, "b" * 16, "c" * 16
SYNCS_AND_RENAMES = ("fsync", "fdatasync", "replace", "rename")
TIDY_OPERATIONS = (*SYNCS_AND_RENAMES, "link", "ftruncate", "unlink", "mkdir", "rmdir")  # what a save asks of module os


def small_config(**settings: Any) -> TrainingConfig:
    """A run whose steps and files are small."""
    small = {"field_size": 8, "field_update_hidden": 5, "syntropy_hidden": 4, "feedback_hidden": 3}
    return TrainingConfig(**{**small, "seed": 1, "threads": 1, **settings})


def opened(folder: Path, **settings: Any) -> TrainingState:
    """A TrainingState for small runs."""
    return TrainingState(folder, small_config(**settings))


def train(state: TrainingState, count: int) -> None:
    """So many iterations."""
    for _ in range(count):
        state.step()


def new_run(state: TrainingState, count: int, ended: Ended | None = None, seed: int | None = None) -> str:
    """Initialize, train, and save where `ended` is given; returns the run's id."""
    state.initialize(seed=seed)
    train(state, count)
    if ended is not None:
        state.save(ended)
    return state.run.id


def content(state: TrainingState) -> dict[str, Any]:
    """Everything that training reads, and all four histories."""
    return {**state.engine.state_dict(), "rows": state.history.rows().copy()}


def assert_same(left: Mapping[str, Any], right: Mapping[str, Any]) -> None:
    """Equal to the bit."""
    places = differences(dict(left), dict(right))
    assert not places, f"not the same: {places[:10]}"


def assert_same_state(left: SavedState, right: SavedState) -> None:
    """Equal to the bit in all that a save holds; how its rows are divided between the files is no part of it."""
    assert replace(left.record, metrics_rows=right.record.metrics_rows) == right.record
    assert left.config == right.config
    names = set(left.engine) & set(right.engine)
    assert {"field_update", "optimizer", "q_table", "generators", "neuroplasticity", "corpus"} <= names
    assert_same(
        {name: left.engine[name] for name in sorted(names)}, {name: right.engine[name] for name in sorted(names)}
    )
    assert differences(left.rows, right.rows) == []


def record(run: str = RUN_A, **changes: Any) -> SaveRecord:
    """A record of some save."""
    plain = SaveRecord(
        run=run, sequence=1, iteration_count=3, saved_at="2026-01-01T00:00:00.000Z", ended="stopped", load_rank=1,
        field_size=8, seed=1, history_sha256="0" * 64, metrics_rows=3,
    )  # fmt: skip
    return replace(plain, **{"metrics_rows": changes.get("iteration_count", 3), **changes})


def saved_states(*counts: int, run: str = RUN_A, **settings: Any) -> list[SavedState]:
    """The saves of one run after so many iterations each, as a TrainingState would hand them to persistence."""
    engine, history, states = Engine(small_config(**settings), Corpus()), History(), []
    for sequence, count in enumerate(counts, start=1):
        while len(history) < count:
            result = engine.step()
            history.append(result.loss, result.reward, result.variance, result.mean)
        kept = record(
            run, sequence=sequence, iteration_count=count, field_size=engine.config.field_size,
            seed=engine.config.seed, history_sha256=history.checksum(),
        )  # fmt: skip
        states.append(SavedState(kept, engine.config, engine.state_dict(), history.rows().copy()))
    return states


def save_of(state: SavedState, full: bool = True) -> Save:
    """What TrainingState would hand to the store for this state."""
    engine = Engine(state.config, Corpus())
    engine.load_state_dict(state.engine)
    return Save(state.record, state.config, engine.snapshot(), state.rows, full)


def archive_of(encoder: WeightsEncoder, snapshot: Snapshot, tail: NDArray[np.float32]) -> list[Piece]:
    """The pieces of a weights file, not sealed yet."""
    return archive_pieces(archive_entries(bytes_of(snapshot.flat), encoder.contents(snapshot, tail)))


def sealed_weights(state: SavedState) -> bytes:
    """The weights file of a state, whatever it holds; rows behind the record's `metrics_rows` are in it."""
    save = save_of(state)
    encoder = WeightsEncoder(save.config, save.snapshot)
    return b"".join(seal(archive_of(encoder, save.snapshot, state.rows[state.record.metrics_rows :]), state.record))


def write_state(folder: Path, state: SavedState) -> Path:
    """The three files of a state, whatever it holds, in a folder, which is made where it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    known, _ = metrics.encode(state.record.run, state.rows[: state.record.metrics_rows])
    (folder / METRICS).write_bytes(b"".join(known))
    (folder / SYSTEM).write_bytes(b"".join(map(bytes, encode_system(state.record, state.config, state.engine))))
    (folder / WEIGHTS).write_bytes(sealed_weights(state))
    return folder


def write_two_runs(folder: Path) -> Path:
    """A state directory with two runs, the present one with earlier saves."""
    with opened(folder) as state:
        new_run(state, 2, "stopped")
        new_run(state, 2, "stopped", seed=2)
        for _ in range(4):
            train(state, 1)
            state.save()
    return folder


def flip_bit(path: Path, offset: int = 200) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 0x10
    path.write_bytes(content)


def write_as_elsewhere(folder: Path, state: SavedState, rest: Mapping[str, Any], **settings: Any) -> Path:
    """The three files of a state as a machine would have written them that has what this one may lack.

    `rest`: entries of the engine's state that are no trained tensors; `settings`: of the configuration.
    """
    save, config = save_of(state), replace(state.config, **settings)
    flat = torch.from_numpy(save.snapshot.flat)
    entries, plain = _without_tensors(rest), marshal.loads(save.snapshot.plain)
    if "generators" in rest:  # the description says how long the samples' state is
        plain["generators"]["samples"] = entries["generators"]["samples"]
    snapshot = Snapshot(flat, save.snapshot.specs, packed(plain), None)
    write_state(folder, state)
    with pytest.MonkeyPatch.context() as patch:  # what no save of ours would pack
        patch.setattr(weights_entries, "unpacked", lambda plain: {**unpacked(plain), **entries})
        pieces = archive_of(WeightsEncoder(config, snapshot), snapshot, state.rows[state.record.metrics_rows :])
    (folder / WEIGHTS).write_bytes(b"".join(seal(pieces, state.record)))
    system = encode_system(state.record, config, {**state.engine, **rest})
    (folder / SYSTEM).write_bytes(b"".join(map(bytes, system)))
    return folder


def _without_tensors(rest: Mapping[str, Any]) -> dict[str, Any]:
    """The entries as a file's description has them."""
    if "generators" not in rest:
        return dict(rest)
    samples = bytes(rest["generators"]["samples"].numpy())
    return {**rest, "generators": {**rest["generators"], "samples": samples}}


def grown(run: str, *parts: NDArray[np.float32]) -> bytes:
    """A metrics file that was made with the first rows and grew by the others."""
    pieces, log = metrics.encode(run, parts[0])
    file = bytearray(b"".join(pieces))
    for rows in parts[1:]:
        content, longer = metrics.append(log, rows)
        file += content
        file[log.ending_at : log.ending_at + 1] = metrics.SKIPPED
        log = longer
    return bytes(file)


@contextmanager
def continued(folder: Path) -> Iterator[SaveStore]:
    """A store that goes on from what stands in a folder, which it holds meanwhile."""
    with StateFolder(folder) as held:
        store = SaveStore(held)
        if (folder / WEIGHTS).exists():
            store.adopt(read(folder))
        yield store


def commit(folder: Path, *states: SavedState, full: bool = True) -> list[Receipt]:
    """Save these states in a folder, one after the other."""
    with continued(folder) as store:
        return [store.commit(save_of(state, full)) for state in states]


def three_files(folder: Path, mark: str) -> Path:
    """Make a folder with files by the names of a state's, which say what they are."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        (folder / name).write_text(f"{mark} {name}")
    return folder


def three_of(folder: Path) -> list[str]:
    """What the files of `three_files` say."""
    return [(folder / name).read_text() for name in FILES]


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but the lock, by its path in it."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != LOCK)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


class Crash(BaseException):
    """The process ends here."""


class Fault:
    """Counts calls of functions of module os; from the k-th on, or only there, they raise."""

    def __init__(self, number: int, error: BaseException, ends_all: bool) -> None:
        self._number, self._error, self._ends_all = number, error, ends_all
        self._calls = 0

    @property
    def happened(self) -> bool:
        """Whether there were that many calls."""
        return self._calls >= self._number

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function with the fault in it."""

        def faulty(*arguments: Any, **options: Any) -> Any:
            self._calls += 1
            if self._calls == self._number or (self._ends_all and self.happened):
                raise self._error
            return function(*arguments, **options)

        return faulty


@contextmanager
def fault(number: int, error: BaseException, names: tuple[str, ...] = TIDY_OPERATIONS) -> Iterator[Fault]:
    """Let the k-th of these calls fail; a Crash fails every later one too, so that nothing is tidied up after it."""
    failing = Fault(number, error, ends_all=isinstance(error, Crash))
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setattr(os, name, failing.around(getattr(os, name)))
        yield failing


def run_python(code: str, *arguments: object) -> str:
    """What a new process prints; it must succeed."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def earlier_weights(field_size: int = 6, **changes: Any) -> dict[str, Any]:
    """What the weights file of the earlier generation holds."""
    generator = torch.Generator().manual_seed(5)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.empty(shape).uniform_(-0.5, 0.5, generator=generator)

    def network(hidden: int, outputs: int) -> dict[str, torch.Tensor]:
        sizes = (field_size, hidden, hidden, outputs)
        entries: dict[str, torch.Tensor] = {}
        for layer in (1, 2, 3):
            entries[f"fc{layer}.weight"] = drawn(sizes[layer], sizes[layer - 1])
            entries[f"fc{layer}.bias"] = drawn(sizes[layer])
            for name in ("threshold", "graded_spikes_factor", "beta", "reset_mechanism_val"):
                entries[f"lif{layer}.{name}"] = torch.tensor(1.0)
        return entries

    table = {
        "0.49": {"update_field": np.float64(0.25), "adjust_syntropy": 0.5, "penalize_variance": np.float64(-0.125)},
        "0.5": {"update_field": 1.0 / 3.0, "adjust_syntropy": 0.0, "penalize_variance": 0.0},
    }
    networks = {"nn1": network(7, field_size), "nn2": network(5, field_size), "nn3": network(4, 1)}
    return {**networks, "field": drawn(field_size), "q_table": table, **changes}


def earlier_metrics(count: int = 4, **changes: Any) -> dict[str, Any]:
    """What the metrics file of the earlier generation holds."""
    series = {
        name: [start + 0.1 * step for step in range(count)]
        for name, start in (
            ("loss_history", 0.5),
            ("reward_history", 8.0),
            ("variance_history", 0.01),
            ("field_mean_history", 0.2),
        )
    }
    return {**series, "iteration_count": count, **changes}


def write_earlier(
    folder: Path,
    weights: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    system: Mapping[str, Any] | None = None,
) -> Path:
    """A folder as the earlier generation left it, with some entries changed."""
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    torch.save(earlier_weights(**(weights or {})), buffer)
    (folder / WEIGHTS).write_bytes(buffer.getvalue())
    (folder / METRICS).write_bytes(pickle.dumps(earlier_metrics(**(metrics or {})), protocol=4))
    values = {"field_size": 6, "is_initialized": True, "integrity_strikes": 2, **(system or {})}
    (folder / SYSTEM).write_bytes(pickle.dumps(values, protocol=4))
    return folder
