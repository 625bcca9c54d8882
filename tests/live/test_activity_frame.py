"""Activity frames: they change nothing of it, say what it holds, and are of bounded size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from quadra import TrainingState
from quadra.config import ACTIONS, NETWORKS
from quadra.errors import RefusedError
from quadra.live.activity_frame import MOST_STATES, capture_frame, frame_payload
from quadra.model.activity import MOST_COLUMNS
from quadra.model.probes import spikes_for
from tests.helpers.activity_frames import FULL, decoded
from tests.helpers.state_helpers import assert_same, content, opened, train

LARGEST_MESSAGE = 250_000  # characters of JSON


def test_a_run_that_is_watched_is_the_same_to_the_bit_as_one_that_is_not(tmp_path: Path) -> None:
    with opened(tmp_path / "watched") as watched, opened(tmp_path / "alone") as alone:
        for state in (watched, alone):
            state.initialize()
        for _ in range(40):
            frame_payload(capture_frame(watched), 0)
            train(watched, 1)
            train(alone, 1)
        assert_same(content(watched), content(alone))


def test_a_frame_says_what_the_run_holds(tmp_path: Path) -> None:
    with opened(tmp_path / "state") as state:
        state.initialize()
        fields = []
        for _ in range(20):
            train(state, 1)
            fields.append(state.engine.field.numpy().copy())
        told = frame_payload(capture_frame(state), 0)
        columns = told["columns"]
        assert (told["run"], told["iteration"], told["beginning"], told["stride"]) == (state.run.id, 20, 0, 1)
        assert decoded(columns["last"], "<u4").tolist() == list(range(1, 21))
        np.testing.assert_allclose(decoded(columns["fields"], "<i2").reshape(20, 8) / FULL, fields, atol=1 / FULL)
        np.testing.assert_allclose(decoded(told["field"], "<i2") / FULL, fields[-1], atol=1 / FULL)
        chosen = decoded(columns["chosen"], "<u4").reshape(20, 3)
        assert chosen.sum(1).tolist() == [30 + 6 + 36 * number for number in range(20)]
        patterns = decoded(columns["patterns"], "<u4").reshape(20, 3)
        assert patterns[-1].tolist() == state.engine.state_dict()["wins"].tolist()
        assert decoded(columns["plasticity"], "<f4")[-1] == np.float32(state.engine.neuroplasticity.plasticity)
        table = told["q_table"]
        assert dict(zip(table["states"], table["values"], strict=True)) == dict(state.engine.q_table.rows)
        assert np.sum(table["visits"], 0).tolist() == chosen[-1].tolist()
        assert table["states"] == sorted(table["states"], key=float)
        spikes = spikes_for(state.engine.field.numpy(), state.engine.parameters, state.config)
        for network in NETWORKS:
            for layer, sent in zip(spikes[network], told["networks"][network], strict=True):
                bits = np.unpackbits(decoded(sent["spikes"], "u1"))[: layer.spikes.size].reshape(layer.spikes.shape)
                assert (bits == layer.spikes).all()
                assert sent["rate"] == layer.rate
        rates = decoded(columns["rates"], "<f4").reshape(20, 3)
        assert rates[-1].tolist() == [np.float32(spikes[network][-1].rate) for network in NETWORKS]


def test_only_the_columns_that_a_page_lacks_are_sent_to_it(tmp_path: Path) -> None:
    with opened(tmp_path / "state") as state:
        state.initialize()
        train(state, 30)
        frame = capture_frame(state)
        whole, rest = frame_payload(frame, 0)["columns"], frame_payload(frame, 25)["columns"]
        assert rest["from"] == 25
        for name, kind, width in (("last", "<u4", 1), ("fields", "<i2", 8), ("chosen", "<u4", 3), ("rates", "<f4", 3)):
            np.testing.assert_array_equal(decoded(rest[name], kind), decoded(whole[name], kind)[25 * width :])


def test_the_record_begins_anew_with_another_run_in_memory(tmp_path: Path) -> None:
    with opened(tmp_path / "state") as state:
        with pytest.raises(RefusedError):
            capture_frame(state)
        state.initialize()
        train(state, 12)
        state.save()
        state.load()
        train(state, 3)
        told = frame_payload(capture_frame(state), 0)
        assert told["beginning"] == 12
        assert decoded(told["columns"]["last"], "<u4").tolist() == [13, 14, 15]
        assert decoded(told["columns"]["patterns"], "<u4").reshape(3, 3).sum(1).tolist() == [1, 2, 3]
        assert told["q_table"]["all_visits"] == 3 * 36
        state.reset()
        with pytest.raises(RefusedError):
            capture_frame(state)


def test_a_message_is_bounded_and_of_a_large_table_the_most_visited_states_are_shown(tmp_path: Path) -> None:
    with opened(tmp_path / "state", field_size=150) as state:
        state.initialize()
        train(state, 5)
        fill(state)
        train(state, 1)
        told = frame_payload(capture_frame(state), 0)
        text = json.dumps(told)
        assert len(decoded(told["columns"]["last"], "<u4")) >= MOST_COLUMNS - 2
        assert 100_000 < len(text) < LARGEST_MESSAGE
        table, visits = told["q_table"], state.engine.q_table.visits
        assert len(table["states"]) == MOST_STATES < table["total"]
        least_shown = min(sum(visits.get(name, [0])) for name in table["states"])
        assert all(sum(found) <= least_shown for name, found in visits.items() if name not in table["states"])


def fill(state: TrainingState) -> None:
    """A record one column short of being merged, and a table of many states, without the time that training takes."""
    recorder = state.run.activity
    while len(recorder) < MOST_COLUMNS - 2:
        recorder.add(state.engine.activity_sample()._replace(iteration=recorder.due))
    recorder.due = state.iteration_count + 1
    table = state.engine.q_table
    for number in range(200):
        for _ in range(number % 7):
            table.update(str(number), number % len(ACTIONS), 1.0, "0.0")
