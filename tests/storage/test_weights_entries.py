"""Members: whoever writes the file, the same state gives the same bytes, and a copy stays what it was."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from quadra import TrainingState
from quadra.model.packing import packed, unpacked
from quadra.storage.commit import Committed, commit
from quadra.storage.files.durable import identity_of
from quadra.storage.files.zip_writer import archive_pieces
from quadra.storage.folder import StateFolder
from quadra.storage.layout import WEIGHTS
from quadra.storage.save_store import SaveStore
from quadra.storage.weights_entries import Contents, archive_entries
from quadra.storage.weights_file import WeightsEncoder
from quadra.storage.writer_process import IS_POSSIBLE, WriterProcess
from tests.helpers.state_helpers import archive_of, save_of, saved_states, small_config, train
from tests.helpers.waiting import PATIENCE

EVERYTHING = {
    "wins": [3, 4], "optimizer_step": 5, "generators": {"samples": b"bits", "samples_device": "cpu"},
    "q_table": {"0.5": [0.25, -0.0, 1e-300]}, "neuroplasticity": {"mean_reward": None}, "iteration_count": 2**60,
}  # fmt: skip


@pytest.fixture(scope="module")
def writer() -> Iterator[WriterProcess]:
    writer = WriterProcess()
    yield writer
    writer.close()


def test_the_members_hold_the_memory_as_it_is_and_the_numbers_as_torch_reads_them() -> None:
    tensors = memoryview(b"tensors")
    entries = dict(archive_entries(tensors, Contents(b"", b"", b"tail", packed(EVERYTHING))))
    assert entries["archive/data/0"] is tensors
    assert np.frombuffer(entries["archive/data/1"], np.int64).tolist() == [3, 4, 5]
    assert entries["archive/data/2"] == b"bits"
    assert entries["archive/data/3"] == b"tail"


def test_the_description_is_one_pickled_dictionary() -> None:
    described = pickle.BINUNICODE + b"\x0a\0\0\0generators" + pickle.EMPTY_DICT
    entries = dict(archive_entries(b"", Contents(described, b"", b"", packed(EVERYTHING))))
    values = pickle.loads(bytes(entries["archive/data.pkl"]))
    expected = unpacked(packed(EVERYTHING))
    assert values.pop("generators") == {"samples_device": "cpu"}
    assert values == {name: expected[name] for name in ("q_table", "neuroplasticity", "iteration_count")}


@pytest.mark.skipif(not IS_POSSIBLE, reason="descriptors cannot be handed to another process here")
def test_the_writer_process_and_this_process_write_the_same_bytes_for_the_same_state(
    tmp_path: Path, writer: WriterProcess
) -> None:
    first, second = saved_states(20, 30)
    save = save_of(second, full=False)
    with StateFolder(tmp_path) as folder:
        store = SaveStore(folder, writer)
        store.commit(save_of(first))
        request, _ = store._request(save, keep_present=True)
        commit(request)
        expected = (tmp_path / WEIGHTS).read_bytes()
        assert writer.send(request._replace(present=identity_of(tmp_path / WEIGHTS)))
        assert isinstance(writer.answer(PATIENCE), Committed)
    assert (tmp_path / WEIGHTS).read_bytes() == expected


def test_a_snapshot_that_is_written_later_gives_the_same_bytes(tmp_path: Path) -> None:
    """A thread writes it while training goes on."""
    with TrainingState(tmp_path / "state", small_config()) as state:
        state.initialize()
        train(state, 20)
        snapshot = state.engine.snapshot()
        encoder, tail = WeightsEncoder(state.config, snapshot), np.zeros((3, 4), np.float32)
        at_once = b"".join(archive_of(encoder, snapshot, tail))
        train(state, 5)
        contents = encoder.contents(snapshot, tail)
        assert b"".join(archive_pieces(archive_entries(snapshot.flat.tobytes(), contents))) == at_once
        snapshot.release()
