"""The three files: readable by stock tools, and every way they can be bad told apart."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import pickletools
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from quadra.errors import (
    BadFileError,
    DamagedFileError,
    MismatchError,
    MissingFileError,
    MissingKeyError,
    NewerFormatError,
)
from quadra.model.history import checksum_of
from quadra.storage.layout import METRICS, METRICS_COPY, RUNS, SAVES, SYSTEM, WEIGHTS
from quadra.storage.save_record import FORMAT_VERSION, seal, verify
from quadra.storage.saved_state import SavedState, read, read_save
from quadra.storage.weights_file import TAIL
from tests.helpers.fault_loops import decoding_remembered
from tests.helpers.model_helpers import differences
from tests.helpers.rotation import Draw
from tests.helpers.state_helpers import RUN_A, RUN_B, assert_same_state, files_of, grown, saved_states, write_state

NETWORK_ENTRIES = [f"{layer}.{part}" for layer in ("fc1", "fc2", "fc3") for part in ("weight", "bias")]
HISTORIES = ["loss_history", "reward_history", "variance_history", "field_mean_history"]


@pytest.fixture(scope="module")
def saves() -> list[SavedState]:
    """Three saves of one run."""
    return saved_states(2, 3, 5)


def rewrite(folder: Path, name: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what a file holds, properly written (and sealed) again."""
    path = folder / name
    if name == WEIGHTS:
        state = torch.load(path, weights_only=True)
        kept = verify(path.read_bytes(), WEIGHTS)
        assert kept is not None
        change(state)
        buffer = io.BytesIO()
        torch.save(state, buffer)
        path.write_bytes(b"".join(seal([buffer.getvalue()], kept)))
    else:
        values = pickle.loads(path.read_bytes())
        change(values)
        path.write_bytes(pickle.dumps(values, protocol=4))


def test_what_is_written_is_read_back_to_the_bit(folder: Path, saves: list[SavedState]) -> None:
    state = read(folder)
    assert_same_state(state, saves[-1])
    assert state.warnings == ()


def test_a_run_without_an_iteration_is_read_back_to_the_bit(tmp_path: Path) -> None:
    (state,) = saved_states(0)
    assert_same_state(read(write_state(tmp_path, state)), state)


@settings(max_examples=10)
@given(
    field_size=st.integers(2, 40), patterns=st.integers(1, 4), seed=st.integers(0, 2**53 - 1), count=st.integers(0, 4)
)
def test_runs_of_any_size_are_read_back_to_the_bit(
    tmp_path_factory: pytest.TempPathFactory, count: int, **sizes: Any
) -> None:
    (state,) = saved_states(count, **sizes)
    assert_same_state(read(write_state(tmp_path_factory.mktemp("state"), state)), state)


def test_stock_torch_reads_the_weights(folder: Path, saves: list[SavedState]) -> None:
    weights = torch.load(folder / "oscillator_weights.pth", weights_only=True)
    for network in ("field_update", "syntropy", "feedback"):
        assert list(weights[network]) == NETWORK_ENTRIES
        for name, tensor in weights[network].items():
            assert tensor.dtype == torch.float32
            assert torch.equal(tensor, saves[-1].engine[network][name])
            assert weights["optimizer"]["exp_avg"][network][name].shape == tensor.shape
            assert weights["optimizer"]["exp_avg_sq"][network][name].shape == tensor.shape
    assert weights["field_update"]["fc1.weight"].shape == (5, 8)
    assert weights["feedback"]["fc3.weight"].shape == (1, 3)
    assert weights["optimizer"]["step"] == 5 * 3
    assert weights["field"].shape == (8,)
    assert weights["syntropy_fields"].shape == (3, 8)
    for state, values in weights["q_table"].items():
        assert isinstance(state, str)
        assert list(values) == ["update_field", "adjust_syntropy", "penalize_variance"]
        assert all(type(value) is float for value in values.values())


def test_stock_pickle_reads_the_metrics_with_builtins_and_numpy_only(folder: Path, saves: list[SavedState]) -> None:
    content = (folder / "metrics_history.pkl").read_bytes()
    metrics = pickle.loads(content)
    assert type(metrics["iteration_count"]) is int
    assert metrics["iteration_count"] == 5
    for number, name in enumerate(HISTORIES):
        assert (metrics[name].dtype, metrics[name].shape) == (np.float32, (5,))
        assert metrics[name].tobytes() == saves[-1].rows[:, number].tobytes()
    named = {str(argument) for opcode, argument, _ in pickletools.genops(content) if "GLOBAL" in opcode.name}
    assert named == {"numpy ndarray", "numpy concatenate", "builtins zip", "builtins dict"}


def test_metrics_take_16_kilobytes_per_1000_iterations(tmp_path: Path, saves: list[SavedState]) -> None:
    rows = np.zeros((1000, 4), np.float32)
    long = replace(saves[0], rows=rows, record=replace(saves[0].record, iteration_count=1000, metrics_rows=1000))
    assert 16_000 <= (write_state(tmp_path, long) / METRICS).stat().st_size <= 16_600


def test_later_rows_of_a_save_that_was_cut_off_are_left_out(tmp_path: Path, saves: list[SavedState]) -> None:
    folder = write_state(tmp_path / "old", saves[0])
    newer = write_state(tmp_path / "new", saves[2])
    (folder / METRICS).write_bytes((newer / METRICS).read_bytes())
    assert_same_state(read(folder), saves[0])


def test_rows_that_the_metrics_do_not_hold_yet_are_in_the_weights(tmp_path: Path, saves: list[SavedState]) -> None:
    for known in range(6):
        state = replace(saves[-1], record=replace(saves[-1].record, metrics_rows=known))
        assert_same_state(read(write_state(tmp_path / str(known), state)), state)


@pytest.mark.parametrize("length", [0, 1, 100, -100, -1])
def test_weights_that_are_cut_short_are_damaged_and_named(folder: Path, length: int) -> None:
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[:length])
    with pytest.raises(DamagedFileError) as refused:
        read(folder)
    assert refused.value.path == folder / WEIGHTS


@pytest.mark.parametrize("length", [0, 1, 100, -100])
def test_metrics_that_are_cut_short_are_damaged_and_named(folder: Path, length: int) -> None:
    content = (folder / METRICS).read_bytes()
    (folder / METRICS).write_bytes(content[:length])
    with pytest.raises(DamagedFileError) as refused:
        read(folder)
    assert refused.value.path == folder / METRICS


def test_metrics_that_lack_nothing_but_their_end_are_damaged_and_named_and_cost_nothing(
    folder: Path, saves: list[SavedState]
) -> None:
    (folder / METRICS).write_bytes((folder / METRICS).read_bytes()[:-1])
    state = read(folder)
    assert_same_state(state, saves[-1])
    assert [(type(error), error.path) for error in state.damaged] == [(DamagedFileError, folder / METRICS)]


@pytest.mark.parametrize("name", [WEIGHTS, METRICS])
def test_a_file_that_is_not_there_is_missing_and_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(MissingFileError) as refused:
        read(folder)
    assert refused.value.path == folder / name


@pytest.mark.parametrize("content", [None, b"", b"\x80\x04", b"]."], ids=["missing", "empty", "cut short", "a list"])
def test_a_lost_system_state_is_named_and_costs_nothing(
    folder: Path, saves: list[SavedState], content: bytes | None
) -> None:
    (folder / SYSTEM).unlink()
    if content is not None:
        (folder / SYSTEM).write_bytes(content)
    state = read(folder)
    assert_same_state(state, saves[-1])
    assert len(state.warnings) == 1
    assert SYSTEM in state.warnings[0]
    assert [error.path for error in state.damaged] == [folder / SYSTEM]


@pytest.mark.parametrize("name", [METRICS, SYSTEM])
def test_every_flipped_byte_is_noticed_and_the_file_named(
    folder: Path, saves: list[SavedState], name: str, draw: Draw
) -> None:
    path = folder / name
    whole = path.read_bytes()
    with decoding_remembered():
        for place in draw(range(len(whole)), 150):
            flipped = bytearray(whole)
            flipped[place] ^= 1 << place % 8
            path.write_bytes(flipped)
            try:
                state = read(folder)
                assert_same_state(state, saves[-1])
                named = {error.path for error in state.damaged}
            except BadFileError as error:
                assert name == METRICS
                named = {error.path}
            assert named == {path}, f"byte {place}: {bytes(flipped[max(0, place - 20) : place + 10])!r}"


@settings(max_examples=60)
@given(place=st.integers(0, 10**9), bit=st.integers(0, 7))
def test_every_flipped_bit_of_the_weights_is_noticed_and_the_file_named(
    tmp_path_factory: pytest.TempPathFactory, saves: list[SavedState], place: int, bit: int
) -> None:
    folder = write_state(tmp_path_factory.mktemp("state"), saves[0])
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[place % len(content)] ^= 1 << bit
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(DamagedFileError) as refused:
        read(folder)
    assert refused.value.path == folder / WEIGHTS


# --- the history in several files


COPIES = [f"{SAVES}/{METRICS_COPY}", f"{RUNS}/{RUN_A}/{METRICS}"]


def with_copy(folder: Path, name: str) -> Path:
    """A second copy of the metrics in one of the places where one may stand."""
    (folder / name).parent.mkdir(parents=True)
    shutil.copy(folder / METRICS, folder / name)
    return folder / name


def damage_of(state: SavedState) -> dict[Path, str]:
    """What was found bad in a state that was read all the same, by the file."""
    return {error.path: error.code for error in state.damaged}


@pytest.mark.parametrize("copy", COPIES)
@pytest.mark.parametrize("content", [None, b"", b"rubbish", "flipped", "another run"], ids=str)
def test_damage_to_the_metrics_alone_costs_nothing_and_is_told(
    folder: Path, saves: list[SavedState], copy: str, content: bytes | str | None
) -> None:
    with_copy(folder, copy)
    spoil(folder / METRICS, content)
    state = read(folder)
    assert_same_state(state, saves[-1])
    code = "missing_file" if content is None else "mismatch" if content == "another run" else "damaged_file"
    assert damage_of(state) == {folder / METRICS: code}
    assert [METRICS in told and "Nothing was lost" in told for told in state.warnings] == [True]


@pytest.mark.parametrize("copy", COPIES)
@pytest.mark.parametrize("content", [b"", b"rubbish", "flipped", "another run"], ids=str)
def test_damage_to_the_copy_of_the_metrics_alone_costs_nothing_and_is_told(
    folder: Path, saves: list[SavedState], copy: str, content: bytes | str
) -> None:
    spoil(with_copy(folder, copy), content)
    state = read(folder)
    assert_same_state(state, saves[-1])
    assert list(damage_of(state)) == [folder / copy]


def spoil(path: Path, content: bytes | str | None) -> None:
    """Take a metrics file away, or put something else in its place."""
    whole = path.read_bytes()
    path.unlink()
    if content == "flipped":
        path.write_bytes(whole[:-60] + bytes([whole[-60] ^ 4]) + whole[-59:])
    elif content == "another run":
        path.write_bytes(whole.replace(RUN_A.encode(), RUN_B.encode()))
    elif isinstance(content, bytes):
        path.write_bytes(content)


def flipped_row(content: bytes, row: NDArray[np.float32]) -> bytes:
    """A metrics file in which one number of a row is another one."""
    place = content.index(row[:1].tobytes())
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def test_where_no_metrics_file_is_whole_the_state_is_not_read_and_the_first_one_named(
    folder: Path, saves: list[SavedState]
) -> None:
    whole = (folder / METRICS).read_bytes()
    for path in (folder / METRICS, with_copy(folder, COPIES[0])):
        path.write_bytes(flipped_row(whole, saves[-1].rows[1]))
    with pytest.raises(DamagedFileError) as refused:
        read(folder)
    assert refused.value.path == folder / METRICS


def test_what_is_intact_is_salvaged_and_lost_rows_are_marked_in_all_four_series_and_named(
    tmp_path: Path, saves: list[SavedState]
) -> None:
    state = replace(saves[-1], record=replace(saves[-1].record, metrics_rows=4))
    folder, rows = write_state(tmp_path, state), state.rows
    whole = grown(RUN_A, rows[:1], rows[1:3], rows[3:4])
    for path in (folder / METRICS, with_copy(folder, COPIES[0])):
        path.write_bytes(flipped_row(whole, rows[2]))
    found = read_save(folder / WEIGHTS, folder, salvage=True)
    assert np.isnan(found.rows[1:3]).all()
    assert differences(found.rows[[0, 3, 4]], rows[[0, 3, 4]]) == []
    assert damage_of(found) == {folder / METRICS: "damaged_file", folder / COPIES[0]: "damaged_file"}
    assert [text.startswith("The metrics of 2 iterations are lost") for text in found.warnings] == [True]
    assert METRICS in found.warnings[0]
    assert METRICS_COPY in found.warnings[0]


def test_two_damaged_metrics_files_that_complete_each_other_are_whole_together(
    folder: Path, saves: list[SavedState]
) -> None:
    rows = saves[-1].rows
    whole = grown(RUN_A, rows[:1], rows[1:3], rows[3:])
    with_copy(folder, COPIES[0]).write_bytes(flipped_row(whole, rows[4]))
    (folder / METRICS).write_bytes(flipped_row(whole, rows[1]))
    state = read(folder)
    assert_same_state(state, saves[-1])
    assert list(damage_of(state)) == [folder / METRICS, folder / COPIES[0]]


def test_with_no_metrics_at_all_the_rows_in_the_weights_are_salvaged(tmp_path: Path, saves: list[SavedState]) -> None:
    state = replace(saves[-1], record=replace(saves[-1].record, metrics_rows=3))
    (write_state(tmp_path, state) / METRICS).unlink()
    found = read_save(tmp_path / WEIGHTS, tmp_path, salvage=True)
    assert np.isnan(found.rows[:3]).all()
    assert differences(found.rows[3:], state.rows[3:]) == []
    assert "The metrics of 3 iterations are lost" in found.warnings[0]


def test_metrics_that_are_whole_but_not_those_of_the_save_are_never_taken_for_good(
    folder: Path, saves: list[SavedState]
) -> None:
    wrong = saves[-1].rows.copy()
    wrong[1, 0] += 1
    (folder / METRICS).write_bytes(grown(RUN_A, wrong))
    with pytest.raises(DamagedFileError, match="checksum"):
        read(folder)
    found = read_save(folder / WEIGHTS, folder, salvage=True)
    assert np.isnan(found.rows).all()
    assert "The metrics of 5 iterations are lost" in found.warnings[0]


def test_a_history_whose_lost_rows_are_marked_is_read_like_any_other(tmp_path: Path, saves: list[SavedState]) -> None:
    rows = saves[-1].rows.copy()
    rows[1:3] = np.nan
    state = replace(saves[-1], rows=rows, record=replace(saves[-1].record, history_sha256=checksum_of(rows)))
    assert_same_state(read(write_state(tmp_path, state)), state)


def test_an_earlier_save_is_read_from_its_own_file_with_the_folders_metrics(
    folder: Path, saves: list[SavedState], tmp_path: Path
) -> None:
    older = write_state(tmp_path / "older", saves[0])
    file = folder / SAVES / "0.pth"
    file.parent.mkdir()
    shutil.copy(older / WEIGHTS, file)
    assert_same_state(read_save(file, folder), saves[0])


# --- parts that do not belong together


@pytest.mark.parametrize("name", [METRICS, WEIGHTS])
def test_metrics_and_weights_of_two_runs_are_a_mismatch(
    folder: Path, other: SavedState, tmp_path: Path, name: str
) -> None:
    stranger = write_state(tmp_path / "other", other)
    (folder / name).write_bytes((stranger / name).read_bytes())
    with pytest.raises(MismatchError, match="another run") as refused:
        read(folder)
    assert refused.value.file == METRICS


def test_a_system_state_of_another_run_is_noticed_and_named(folder: Path, other: SavedState, tmp_path: Path) -> None:
    stranger = write_state(tmp_path / "other", other)
    (folder / SYSTEM).write_bytes((stranger / SYSTEM).read_bytes())
    state = read(folder)
    assert damage_of(state) == {folder / SYSTEM: "mismatch"}
    assert SYSTEM in state.warnings[0]
    assert "another run" in state.warnings[0]


@pytest.mark.parametrize("key", HISTORIES)
def test_one_changed_bit_of_a_history_is_damage(folder: Path, key: str) -> None:
    rewrite(
        folder, METRICS, lambda values: values[key].view(np.uint32).__setitem__(4, values[key].view(np.uint32)[4] ^ 1)
    )
    with pytest.raises(DamagedFileError, match="checksum") as refused:
        read(folder)
    assert refused.value.file == METRICS


def test_metrics_that_end_before_the_weights_are_a_mismatch(tmp_path: Path, saves: list[SavedState]) -> None:
    folder = write_state(tmp_path / "new", saves[2])
    older = write_state(tmp_path / "old", saves[0])
    (folder / METRICS).write_bytes((older / METRICS).read_bytes())
    with pytest.raises(MismatchError, match="holds 2 iterations, fewer than the 5") as refused:
        read(folder)
    assert refused.value.file == METRICS


def test_a_newer_format_of_the_weights_is_told(folder: Path, saves: list[SavedState]) -> None:
    newer = replace(saves[-1].record, format_version=FORMAT_VERSION + 1)
    write_state(folder, replace(saves[-1], record=newer))
    with pytest.raises(NewerFormatError, match="Update the program") as refused:
        read(folder)
    assert refused.value.file == WEIGHTS


def test_a_newer_format_of_the_system_state_is_told_and_costs_nothing(folder: Path, saves: list[SavedState]) -> None:
    rewrite(folder, SYSTEM, lambda values: values.update(format_version=FORMAT_VERSION + 1))
    state = read(folder)
    assert_same_state(state, saves[-1])
    assert damage_of(state) == {folder / SYSTEM: "newer_format"}
    assert "Update the program" in state.warnings[0]


def test_a_system_state_of_another_field_size_is_told_and_costs_nothing(folder: Path, saves: list[SavedState]) -> None:
    rewrite(folder, SYSTEM, lambda values: values.update(field_size=9))
    state = read(folder)
    assert_same_state(state, saves[-1])
    assert damage_of(state) == {folder / SYSTEM: "mismatch"}
    assert "says field size 9, but the weights have 8" in state.warnings[0]


def test_a_record_that_disagrees_with_its_own_file_is_a_mismatch(folder: Path, saves: list[SavedState]) -> None:
    changes: tuple[dict[str, Any], ...] = ({"field_size": 9}, {"iteration_count": 4, "metrics_rows": 4})
    for change in changes:
        write_state(folder, replace(saves[-1], record=replace(saves[-1].record, **change)))
        with pytest.raises(MismatchError, match="not those that its record names") as refused:
            read(folder)
        assert refused.value.file == WEIGHTS


@pytest.mark.parametrize(
    "change", [lambda values: values.pop(TAIL), lambda values: values.update({TAIL: values[TAIL][1:]})]
)
def test_rows_that_the_weights_should_carry_and_do_not_are_a_mismatch(
    tmp_path: Path, saves: list[SavedState], change: Callable[[dict[str, Any]], object]
) -> None:
    folder = write_state(tmp_path, replace(saves[-1], record=replace(saves[-1].record, metrics_rows=3)))
    rewrite(folder, WEIGHTS, change)
    with pytest.raises(MismatchError, match="part of the history") as refused:
        read(folder)
    assert refused.value.file == WEIGHTS


@pytest.mark.parametrize(
    "key",
    [
        "field_update", "syntropy", "feedback", "optimizer", "field", "syntropy_fields", "centroids", "wins", "q_table",
        "generators", "neuroplasticity", "corpus", "configuration", "iteration_count",
    ],
)  # fmt: skip
def test_a_missing_entry_of_the_weights_is_named(folder: Path, key: str) -> None:
    rewrite(folder, WEIGHTS, lambda values: values.pop(key))
    with pytest.raises(MissingKeyError, match=f"'{key}' is missing") as refused:
        read(folder)
    assert refused.value.file == WEIGHTS


@pytest.mark.parametrize("key", HISTORIES)
def test_a_missing_history_is_named(folder: Path, key: str) -> None:
    rewrite(folder, METRICS, lambda values: values.pop(key))
    with pytest.raises(MissingKeyError, match=f"'{key}' is missing") as refused:
        read(folder)
    assert refused.value.file == METRICS


@pytest.mark.parametrize("key", ["format_version", "field_size", "run"])
def test_a_missing_entry_of_the_system_state_is_named(folder: Path, key: str) -> None:
    rewrite(folder, SYSTEM, lambda values: values.pop(key))
    assert [f"'{key}' is missing" in warning for warning in read(folder).warnings] == [True]


def test_errors_of_different_kinds_have_different_codes() -> None:
    kinds = (DamagedFileError, MissingFileError, MissingKeyError, MismatchError, NewerFormatError)
    assert len({kind.code for kind in kinds}) == len(kinds)


def nan_at(*path: Any) -> Callable[[dict[str, Any]], None]:
    """Put a NaN at a place in nested entries."""

    def change(values: Any) -> None:
        for key in path[:-1]:
            values = values[key]
        values[path[-1]] = float("nan")

    return change


@pytest.mark.parametrize(
    "place",
    [
        ("field_update", "fc1.weight", (0, 0)),
        ("feedback", "fc3.bias", 0),
        ("optimizer", "exp_avg", "syntropy", "fc2.weight", (1, 1)),
        ("optimizer", "exp_avg_sq", "field_update", "fc3.bias", 0),
        ("field", 3),
        ("syntropy_fields", (1, 3)),
        ("centroids", (0, 0)),
        ("q_table", "0.5", "update_field"),
        ("neuroplasticity", "plasticity"),
        ("neuroplasticity", "mean_reward"),
        ("configuration", "learning_rate"),
    ],
    ids=lambda place: "-".join(map(str, place)),
)
def test_a_number_that_is_not_finite_never_loads(folder: Path, place: tuple[Any, ...]) -> None:
    def change(values: dict[str, Any]) -> None:
        values["q_table"].setdefault("0.5", {})
        nan_at(*place)(values)

    rewrite(folder, WEIGHTS, change)
    with pytest.raises(BadFileError) as refused:
        read(folder)
    assert refused.value.file == WEIGHTS


@pytest.mark.parametrize("column", range(4))
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_history_with_a_number_that_is_not_finite_never_loads(
    folder: Path, saves: list[SavedState], column: int, value: float
) -> None:
    rows = saves[-1].rows.copy()
    rows[2, column] = value
    kept = replace(saves[-1].record, history_sha256=checksum_of(rows))
    write_state(folder, replace(saves[-1], rows=rows, record=kept))
    with pytest.raises(DamagedFileError, match="not finite") as refused:
        read(folder)
    assert refused.value.file == METRICS


@pytest.mark.parametrize(
    "value", [None, 5, "text", ["text"] * 5, [[1.0]] * 5, {}, np.zeros((5, 2), np.float32), np.array(1.0)], ids=repr
)
def test_a_history_that_is_no_series_of_numbers_is_refused_and_named(folder: Path, value: object) -> None:
    rewrite(folder, METRICS, lambda values: values.update(reward_history=value))
    with pytest.raises(BadFileError) as refused:
        read(folder)
    assert refused.value.file == METRICS


@pytest.mark.parametrize(
    "value", [None, 5, "text", [], {"field_size": "8"}, {"warp": 9}, {"syntropy_decays": 5}], ids=repr
)
def test_a_configuration_that_cannot_be_run_is_refused_and_named(folder: Path, value: object) -> None:
    rewrite(folder, WEIGHTS, lambda values: values.update(configuration=value))
    with pytest.raises(BadFileError) as refused:
        read(folder)
    assert refused.value.file == WEIGHTS


@pytest.mark.parametrize("name", [METRICS, SYSTEM])
def test_code_in_a_pickle_file_is_not_run_by_reading(folder: Path, tmp_path: Path, name: str) -> None:
    class Code:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "ran"),)

    rewrite(folder, name, lambda values: values.update(extra=Code()))
    with contextlib.suppress(DamagedFileError):
        assert any(name in warning for warning in read(folder).warnings)
    assert not (tmp_path / "ran").exists()


def test_code_in_the_weights_is_not_run_by_reading(folder: Path, tmp_path: Path) -> None:
    class Code:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "ran"),)

    state = torch.load(folder / WEIGHTS, weights_only=True)
    kept = verify((folder / WEIGHTS).read_bytes(), WEIGHTS)
    assert kept is not None
    buffer = io.BytesIO()
    torch.save({**state, "extra": Code()}, buffer)
    (folder / WEIGHTS).write_bytes(b"".join(seal([buffer.getvalue()], kept)))
    with pytest.raises(DamagedFileError):
        read(folder)
    assert not (tmp_path / "ran").exists()


def test_an_archive_that_is_no_weights_file_is_damaged(folder: Path, saves: list[SavedState]) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("hello.txt", "hello")
    (folder / WEIGHTS).write_bytes(b"".join(seal([buffer.getvalue()], saves[-1].record)))
    with pytest.raises(DamagedFileError):
        read(folder)


def test_reading_changes_no_file(folder: Path) -> None:
    before = files_of(folder)
    read(folder)
    assert files_of(folder) == before


def test_a_saved_state_belongs_to_its_run(folder: Path) -> None:
    assert read(folder).record.run == RUN_A
