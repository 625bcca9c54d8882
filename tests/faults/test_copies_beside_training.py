"""A copy of the folder that is made while training saves into it loads, to a state no older than two saves before."""

from __future__ import annotations

import threading
from pathlib import Path
from random import Random

import pytest

from tests.helpers.copying import EVERY, assert_good, copy_all, train_and_save
from tests.helpers.fault_loops import FIRST, decoding_remembered, opened
from tests.helpers.faults import Disk

_SAVES_A_COPY = 45  # what a second has at full speed on a fast machine


@pytest.mark.rotates(1)
@pytest.mark.parametrize("block", range(8))
def test_a_copy_with_saves_between_its_files_loads_to_a_recent_state(tmp_path: Path, block: int) -> None:
    chance = Random(block)
    with decoding_remembered(), Disk(tmp_path), opened(tmp_path / "state", FIRST) as state:
        state.initialize()
        state.save()
        for number in range(5):
            before = [train_and_save(state) for _ in range(chance.randint(1, 9))][-1]
            left = [_SAVES_A_COPY]

            def between(left: list[int] = left) -> None:
                for _ in range(chance.choice((0, 0, 1, 2, 15))):
                    if left[0]:
                        left[0] -= 1
                        train_and_save(state)

            copy = copy_all(tmp_path / "state", tmp_path / "copy", between, seed=number)
            assert_good(copy, before - 2 * EVERY)


def test_copies_made_beside_training_at_full_speed_load_to_recent_states(tmp_path: Path) -> None:
    durable, done, copies = [0], threading.Event(), list[tuple[Path, int]]()

    def copy_on() -> None:
        try:
            for number in range(25):
                before = durable[0]
                copies.append((copy_all(tmp_path / "state", tmp_path / f"copy-{number}"), before))
        finally:
            done.set()

    with opened(tmp_path / "state", FIRST) as state:
        state.initialize()
        state.save()
        copying = threading.Thread(target=copy_on)
        copying.start()
        while not done.is_set():
            durable[0] = train_and_save(state)
        copying.join()
    assert len(copies) == 25
    for copy, before in copies:
        assert_good(copy, before - 2 * EVERY)
