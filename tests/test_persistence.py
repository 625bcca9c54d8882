"""The three files: one commit, readable by stock tools, and every way they can be bad told apart."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import pickletools
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quadra import pickles
from quadra.errors import (
    BadFileError,
    DamagedFileError,
    MismatchError,
    MissingFileError,
    MissingKeyError,
    NewerFormatError,
    SaveError,
)
from quadra.folder import FILES, METRICS, SYSTEM, WEIGHTS
from quadra.history import checksum_of
from quadra.persistence import SavedState, read, write
from quadra.records import FORMAT_VERSION, seal, verify
from tests.model_helpers import differences
from tests.state_helpers import (
    RUN_A,
    RUN_B,
    Crash,
    assert_same_state,
    fault,
    files_of,
    saved_states,
    write_state,
)

NETWORK_ENTRIES = [f"{layer}.{part}" for layer in ("fc1", "fc2", "fc3") for part in ("weight", "bias")]
HISTORIES = ["loss_history", "reward_history", "variance_history", "field_mean_history"]


@pytest.fixture(scope="module")
def saves() -> list[SavedState]:
    """Three saves of one run."""
    return saved_states(2, 3, 5)


@pytest.fixture(scope="module")
def other() -> SavedState:
    """The first save of another run."""
    return saved_states(4, run=RUN_B, seed=2)[0]


@pytest.fixture
def folder(tmp_path: Path, saves: list[SavedState]) -> Path:
    """A folder with the newest save of the run."""
    return write_state(tmp_path / "state", saves[-1])


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
        path.write_bytes(seal(buffer.getvalue(), kept))
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


@settings(max_examples=10, deadline=None)
@given(
    field_size=st.integers(2, 40), patterns=st.integers(1, 4), seed=st.integers(0, 2**53 - 1), count=st.integers(0, 4)
)
def test_runs_of_any_size_are_read_back_to_the_bit(
    tmp_path_factory: pytest.TempPathFactory, count: int, **sizes: Any
) -> None:
    (state,) = saved_states(count, **sizes)
    assert_same_state(read(write_state(tmp_path_factory.mktemp("state"), state)), state)


def test_a_save_leaves_the_three_files_and_nothing_else(folder: Path) -> None:
    assert set(files_of(folder)) == set(FILES) == {"oscillator_weights.pth", "metrics_history.pkl", "system_state.pkl"}


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
    assert modules_named(content) <= {"numpy", "numpy._core.multiarray"}


def test_stock_pickle_reads_the_system_state_with_builtins_only(folder: Path, saves: list[SavedState]) -> None:
    content = (folder / "system_state.pkl").read_bytes()
    assert modules_named(content) == set()
    system = pickle.loads(content)
    manager = saves[-1].engine["neuroplasticity"]
    expected = {
        "format_version": FORMAT_VERSION,
        "field_size": 8,
        "is_initialized": True,
        "integrity_strikes": manager["integrity_strikes"],
        "neuroplasticity": manager,
        "iteration_count": 5,
        "seed": 1,
        "configuration": saves[-1].config.as_dict(),
    }
    assert {name: system[name] for name in expected} == expected
    assert type(system["neuroplasticity"]) is dict


def modules_named(content: bytes) -> set[str]:
    """The modules that a pickle takes something from."""
    opcodes = list(pickletools.genops(content))
    assert not {opcode.name for opcode, _, _ in opcodes} & {
        "GLOBAL",
        "INST",
        "EXT1",
        "EXT2",
        "EXT4",
        "PERSID",
        "BINPERSID",
    }
    named: set[str] = set()
    texts: list[str] = []
    memo: dict[int, str | None] = {}
    for opcode, argument, _ in opcodes:
        if opcode.name in {"SHORT_BINUNICODE", "BINUNICODE"}:
            texts.append(str(argument))
        elif opcode.name == "MEMOIZE":
            memo[len(memo)] = texts[-1] if texts else None
        elif opcode.name in {"BINGET", "LONG_BINGET"}:
            texts.append(memo[int(str(argument))] or "")
        elif opcode.name == "STACK_GLOBAL":
            named.add(texts[-2])
    return named


@pytest.mark.parametrize("corpus", [None, "/" + "/".join(["folder of texts"] * 20)])
def test_the_system_state_is_small(tmp_path: Path, saves: list[SavedState], corpus: str | None) -> None:
    place = {**saves[0].engine["corpus"], "path": corpus}
    state = replace(
        saves[0], config=replace(saves[0].config, corpus=corpus), engine={**saves[0].engine, "corpus": place}
    )
    size = (write_state(tmp_path, state) / SYSTEM).stat().st_size
    assert 500 <= size <= (2048 if corpus is None else 4096)


def test_metrics_take_16_kilobytes_per_1000_iterations(tmp_path: Path, saves: list[SavedState]) -> None:
    rows = np.zeros((1000, 4), np.float32)
    long = replace(saves[0], rows=rows, record=replace(saves[0].record, iteration_count=1000))
    assert 16_000 <= (write_state(tmp_path, long) / METRICS).stat().st_size <= 16_600


class Log:
    """What is done to the files of a folder, in order."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.lines: list[str] = []
        self._folder = folder
        fsync, rename = os.fsync, os.replace

        def logged_fsync(descriptor: int) -> None:
            self.lines.append(f"sync {self._name_of(descriptor)}")
            fsync(descriptor)

        def logged_replace(source: Any, target: Any, **options: Any) -> None:
            self.lines.append(f"replace {Path(target).name} by {Path(source).name}")
            rename(source, target, **options)

        patch.setattr(os, "fsync", logged_fsync)
        patch.setattr(os, "replace", logged_replace)
        patch.setattr(os, "rename", logged_replace)

    def _name_of(self, descriptor: int) -> str:
        """A name that needs no system of our own: the entry with the same number of device and file, and its size."""
        wanted = os.fstat(descriptor)
        for path in (self._folder, *self._folder.iterdir()):
            if os.path.samestat(path.stat(), wanted):
                return "folder" if path == self._folder else f"{path.name} of {wanted.st_size}"
        return "something else"


def test_each_file_is_written_beside_synced_renamed_and_the_folder_synced(
    folder: Path, saves: list[SavedState], other: SavedState
) -> None:
    write(folder, other)
    sizes = {name: len(content) for name, content in files_of(folder).items()}
    write(folder, saves[0])
    with pytest.MonkeyPatch.context() as patch:
        log = Log(folder, patch)
        write(folder, other)
    temporaries = {line.split()[-1] for line in log.lines if line.startswith("replace")}
    assert len(temporaries) == 3
    assert not temporaries & set(FILES)
    order = [line.split()[1] for line in log.lines if line.startswith("replace")]
    assert sorted(order) == sorted(FILES)
    assert log.lines == [
        line
        for name in order
        for temporary in [next(entry for entry in temporaries if name in entry)]
        for line in (f"sync {temporary} of {sizes[name]}", f"replace {name} by {temporary}", "sync folder")
    ]


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("already_done", [False, True], ids=["before", "after"])
def test_a_crash_at_any_of_the_three_renames_leaves_the_previous_or_the_new_state(
    tmp_path: Path, saves: list[SavedState], number: int, already_done: bool
) -> None:
    before, after = saves[1:]
    folder, rename, calls = write_state(tmp_path, before), os.replace, iter(range(1, 10))

    def crash(source: Any, target: Any, **options: Any) -> None:
        crashes = next(calls) == number
        if already_done or not crashes:
            rename(source, target, **options)
        if crashes:
            raise Crash

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Crash):
        patch.setattr(os, "replace", crash)
        write(folder, after)
    state = read(folder)
    assert_same_state(state, before if state.record.sequence == before.record.sequence else after)


def test_a_crash_at_any_operation_leaves_the_previous_or_the_new_state(tmp_path: Path, saves: list[SavedState]) -> None:
    before, after = saves[1:]
    seen = []
    for number in range(1, 100):
        folder = write_state(tmp_path / str(number), before)
        with contextlib.suppress(Crash), fault(number, Crash()) as cut:
            write(folder, after)
        state = read(folder)
        seen.append(state.record.sequence)
        assert_same_state(state, before if state.record == before.record else after)
        if not cut.happened:
            break
    assert seen == sorted(seen)
    assert set(seen) == {2, 3}


def test_a_save_that_fails_at_any_operation_says_so_and_leaves_a_whole_state(
    tmp_path: Path, saves: list[SavedState]
) -> None:
    before, after = saves[1:]
    for number in range(1, 100):
        folder = write_state(tmp_path / str(number), before)
        with fault(number, OSError(28, "No space left on device"), ("fsync", "replace", "rename")) as full:
            with contextlib.suppress(SaveError):
                write(folder, after)
                assert not full.happened
        state = read(folder)
        assert_same_state(state, before if state.record == before.record else after)
        write(folder, after)
        assert_same_state(read(folder), after)
        if not full.happened:
            break
    assert number == 10


def test_the_reason_of_a_failed_save_is_the_systems(folder: Path, saves: list[SavedState]) -> None:
    with fault(1, OSError(28, "No space left on device"), ("fsync",)):
        with pytest.raises(SaveError, match="No space left on device"):
            write(folder, saves[0])


def test_later_rows_of_a_save_that_was_cut_off_are_left_out(tmp_path: Path, saves: list[SavedState]) -> None:
    folder = write_state(tmp_path / "old", saves[0])
    newer = write_state(tmp_path / "new", saves[2])
    (folder / METRICS).write_bytes((newer / METRICS).read_bytes())
    assert_same_state(read(folder), saves[0])


@pytest.mark.parametrize("name", [WEIGHTS, METRICS])
@pytest.mark.parametrize("length", [0, 1, 100, -100, -1])
def test_a_file_that_is_cut_short_is_damaged_and_named(folder: Path, name: str, length: int) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:length])
    with pytest.raises(DamagedFileError) as refused:
        read(folder)
    assert refused.value.file == name


@pytest.mark.parametrize("name", [WEIGHTS, METRICS])
def test_a_file_that_is_not_there_is_missing_and_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(MissingFileError) as refused:
        read(folder)
    assert refused.value.file == name


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


def test_flipped_bits_of_the_system_state_are_noticed_and_the_file_named(folder: Path) -> None:
    assert not list(flips_unnoticed(folder, SYSTEM, every=2))


def test_flipped_bits_of_the_metrics_are_noticed_and_the_file_named(folder: Path) -> None:
    assert not list(flips_unnoticed(folder, METRICS, every=1))


@settings(max_examples=60, deadline=None)
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
    assert refused.value.file == WEIGHTS


def flips_unnoticed(folder: Path, name: str, every: int) -> Iterator[str]:
    """Where a flipped bit of a pickle file changes what it holds and nobody says so."""
    path = folder / name
    whole = path.read_bytes()
    for place in range(0, len(whole), every):
        bit = place // every % 8
        flipped = bytearray(whole)
        flipped[place] ^= 1 << bit
        path.write_bytes(flipped)
        try:
            noticed = any(name in warning for warning in read(folder).warnings)
        except BadFileError as error:
            noticed = error.file == name
        if not noticed and not same_content(whole, bytes(flipped)):
            yield f"byte {place}, bit {bit}: {bytes(flipped[max(0, place - 20) : place + 10])!r}"
    path.write_bytes(whole)


def same_content(one: bytes, other: bytes) -> bool:
    """Whether a flip changed only how the same data are written down."""
    values, changed = (pickles.loads(content, "either", arrays=True) for content in (one, other))
    return differences(values, changed) == []


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
    try:
        said = " ".join(read(folder).warnings)
    except MismatchError as error:
        said = error.message
    assert SYSTEM in said
    assert "another run" in said


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
    with pytest.raises(MismatchError, match="fewer than the 5 iterations") as refused:
        read(folder)
    assert refused.value.file == METRICS


def test_a_newer_format_of_the_weights_is_told(folder: Path, saves: list[SavedState]) -> None:
    newer = replace(saves[-1].record, format_version=FORMAT_VERSION + 1)
    write(folder, replace(saves[-1], record=newer))
    with pytest.raises(NewerFormatError, match="Update the program") as refused:
        read(folder)
    assert refused.value.file == WEIGHTS


def test_a_newer_format_of_the_system_state_is_told(folder: Path) -> None:
    rewrite(folder, SYSTEM, lambda values: values.update(format_version=FORMAT_VERSION + 1))
    with pytest.raises(NewerFormatError, match="Update the program") as refused:
        read(folder)
    assert refused.value.file == SYSTEM


def test_field_sizes_that_disagree_are_a_mismatch(folder: Path) -> None:
    rewrite(folder, SYSTEM, lambda values: values.update(field_size=9))
    with pytest.raises(MismatchError, match="says field size 9, but the weights have 8") as refused:
        read(folder)
    assert refused.value.file == SYSTEM


def test_a_record_that_disagrees_with_its_own_file_is_a_mismatch(folder: Path, saves: list[SavedState]) -> None:
    for change in ({"field_size": 9}, {"iteration_count": 4}):
        write(folder, replace(saves[-1], record=replace(saves[-1].record, **change)))
        with pytest.raises(BadFileError):
            read(folder)


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
    write(folder, replace(saves[-1], rows=rows, record=kept))
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
    (folder / WEIGHTS).write_bytes(seal(buffer.getvalue(), kept))
    with pytest.raises(DamagedFileError):
        read(folder)
    assert not (tmp_path / "ran").exists()


def test_an_archive_that_is_no_weights_file_is_damaged(folder: Path, saves: list[SavedState]) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("hello.txt", "hello")
    (folder / WEIGHTS).write_bytes(seal(buffer.getvalue(), saves[-1].record))
    with pytest.raises(DamagedFileError):
        read(folder)


def test_reading_changes_no_file(folder: Path) -> None:
    before = files_of(folder)
    read(folder)
    assert files_of(folder) == before


def test_a_saved_state_belongs_to_its_run(folder: Path) -> None:
    assert read(folder).record.run == RUN_A
