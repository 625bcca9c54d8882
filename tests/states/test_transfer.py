"""Saved states between machines: out and in again to the same bits, and whatever else comes in is refused and leaves nothing."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quadra.config import LARGEST_FIELD, TrainingConfig
from quadra.errors import BadArchiveError, BadFileError, DamagedFileError, MismatchError
from quadra.model.corpus import Corpus
from quadra.states import transfer
from quadra.states.transfer import (
    archive_name,
    mark_imported,
    safe_name,
    unpack,
    verify_import,
    write_archive,
    write_files,
)
from quadra.storage.layout import FILES, METRICS, RUNS, SAVES, SYSTEM, WEIGHTS
from quadra.storage.save_record import peek, seal
from quadra.storage.saved_state import read, read_plain
from quadra.storage.system_file import complete_files
from tests.helpers.archives import zipped
from tests.helpers.state_helpers import (
    RUN_A,
    assert_same,
    assert_same_state,
    commit,
    content,
    earlier_metrics,
    files_of,
    new_run,
    opened,
    saved_states,
    sealed_weights,
    train,
    write_as_elsewhere,
    write_earlier,
    write_state,
)

LIMIT = 1 << 26


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The three files of a state of five iterations."""
    return files_of(write_state(tmp_path_factory.mktemp("made"), *saved_states(5)))


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """An empty folder."""
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


def archived(files: dict[str, bytes], name: str = "a name") -> bytes:
    buffer = io.BytesIO()
    write_archive(buffer, {file: [content] for file, content in files.items()}, name)
    return buffer.getvalue()


def unpacked(archive: bytes, target: Path, limit: int = LIMIT) -> tuple[str, ...]:
    return unpack(io.BytesIO(archive), target, limit)


def in_folder(files: dict[str, bytes], folder: str) -> dict[str, bytes]:
    return {f"{folder}{name}": content for name, content in files.items()}


# --- out, and in again


@pytest.mark.parametrize("how", ["archive", "three files"])
@pytest.mark.parametrize("marked", [False, True], ids=["as it is", "marked as foreign"])
def test_a_state_that_travelled_trains_on_to_the_bits_of_the_original(
    tmp_path: Path, target: Path, how: str, marked: bool
) -> None:
    with opened(tmp_path / "here") as state:
        new_run(state, 5, "stopped")
        saved = read(tmp_path / "here")
        sent = complete_files(saved, (tmp_path / "here" / WEIGHTS).read_bytes())
        train(state, 4)
        expected = content(state)
    if how == "archive":
        buffer = io.BytesIO()
        write_archive(buffer, sent, "on its way")
        assert unpack(buffer, target, LIMIT) == ()
    else:
        streams = {name: io.BytesIO(b"".join(map(bytes, pieces))) for name, pieces in sent.items()}
        assert write_files(streams, target, LIMIT) == ()
    arrival = verify_import(target)
    assert (arrival.run, arrival.iteration_count, arrival.is_legacy) == (saved.record.run, 5, False)
    assert (arrival.saved_at, arrival.ended, arrival.field_size, arrival.seed) == (
        saved.record.saved_at,
        "stopped",
        8,
        1,
    )
    assert_same_state(arrival.state, saved)
    if marked:
        mark_imported(target, arrival)
        assert verify_import(target).warnings == ()
    with opened(target) as state:
        report = state.load()
        assert (report.warnings, report.gave_up) == ((), ())
        train(state, 4)
        assert_same(content(state), expected)


def test_the_weights_file_travels_as_it_is_and_all_rows_are_in_the_metrics(tmp_path: Path, target: Path) -> None:
    first, second = saved_states(3, 40)
    commit(tmp_path / "here", first)
    commit(tmp_path / "here", second, full=False)  # its newest rows stand in the weights file alone
    weights = (tmp_path / "here" / WEIGHTS).read_bytes()
    unpacked(archived({name: b"".join(map(bytes, pieces)) for name, pieces in
                       complete_files(read(tmp_path / "here"), weights).items()}), target)  # fmt: skip
    assert (target / WEIGHTS).read_bytes() == weights
    with (target / METRICS).open("rb") as stream:
        assert len(pickle.load(stream)["loss_history"]) == 40
    assert_same_state(verify_import(target).state, second)


def test_the_same_state_gives_the_same_bytes_whatever_its_pieces_are(files: dict[str, bytes]) -> None:
    def pieces(content: bytes) -> Iterator[memoryview]:
        for start in range(0, len(content), 999):
            yield memoryview(content)[start : start + 999]

    buffer = io.BytesIO()
    write_archive(buffer, {name: pieces(files[name]) for name in reversed(FILES)}, "a name")
    assert buffer.getvalue() == archived(files)


@pytest.mark.process
def test_stock_tools_open_an_archive(files: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(archived(files, "Über/den ../Wolken: 3"))
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.testzip() is None
        assert {member.compress_type for member in archive.infolist()} == {zipfile.ZIP_STORED}
        archive.extractall(tmp_path / "python")
    folder = "quadramatrix-Über-den-..-Wolken-3"
    assert files_of(tmp_path / "python") == in_folder(files, f"{folder}/")
    unzip = shutil.which("unzip")
    if unzip is None:
        pytest.skip("there is no unzip here")
    subprocess.run([unzip, "-q", "a.zip", "-d", "stock"], cwd=tmp_path, check=True)
    (stock,) = (tmp_path / "stock").iterdir()
    assert files_of(stock) == files
    assert (stock / WEIGHTS).stat().st_mode & 0o777 == 0o644


@pytest.mark.process
def test_an_archive_that_a_stock_tool_packed_is_taken(files: dict[str, bytes], tmp_path: Path, target: Path) -> None:
    tool = shutil.which("zip")
    if tool is None:
        pytest.skip("there is no zip here")
    write_state(tmp_path / "backup" / "dashboard_state", *saved_states(5))
    subprocess.run([tool, "-q", "-r", "-9", "a.zip", "backup"], cwd=tmp_path, check=True)
    unpacked((tmp_path / "a.zip").read_bytes(), target)
    assert files_of(target) == files


def test_a_state_directory_with_all_that_is_in_it_is_taken_at_its_newest_save(tmp_path: Path, target: Path) -> None:
    with opened(tmp_path / "state") as state:
        new_run(state, 2, "stopped")
        run = new_run(state, 3, "stopped", seed=2)
        train(state, 1)
        state.save()
    everything = in_folder(files_of(tmp_path / "state"), "backup/dashboard_state/")
    skipped = unpacked(zipped(everything, zipfile.ZIP_DEFLATED), target)
    assert files_of(target) == {name: (tmp_path / "state" / name).read_bytes() for name in FILES}
    assert set(skipped) == {name for name in everything if f"/{SAVES}/" in name or f"/{RUNS}/" in name}
    assert len(skipped) >= 5
    assert (verify_import(target).run, verify_import(target).iteration_count) == (run, 4)


@pytest.mark.parametrize("how", ["archive", "three files"])
def test_a_folder_of_the_earlier_generation_is_taken(tmp_path: Path, target: Path, how: str) -> None:
    original = files_of(write_earlier(tmp_path / "old"))
    if how == "archive":
        unpacked(archived(original), target)
    else:
        write_files({name: io.BytesIO(content) for name, content in original.items()}, target, LIMIT)
    assert files_of(target) == original
    arrival = verify_import(target)
    assert (arrival.is_legacy, arrival.iteration_count, arrival.field_size, arrival.seed) == (True, 4, 6, None)
    assert "earlier generation" in " ".join(arrival.warnings)
    mark_imported(target, arrival)
    assert files_of(target) == original
    with opened(target) as state:
        assert [listed.id for listed in state.catalog().states] == [arrival.run]
        assert state.load_state()
        assert state.iteration_count == 4
        train(state, 1)


# --- which of the files


@pytest.mark.parametrize("folder", ["", "state/", "./", "a/b/c/", "backup/dashboard_state/", f"{RUNS}/{RUN_A}/"])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_the_files_stand_at_the_top_or_in_one_folder(
    files: dict[str, bytes], target: Path, folder: str, method: int
) -> None:
    assert unpacked(zipped(in_folder(files, folder), method), target) == ()
    assert files_of(target) == files


def test_what_does_not_belong_to_the_state_is_skipped_and_told(files: dict[str, bytes], target: Path) -> None:
    others = {
        f"s/{SAVES}/history.pkl": b"", f"s/{SAVES}/0.pth": b"", "s/notes.txt": b"", "README": b"",
        f"s/{RUNS}/{RUN_A}/{WEIGHTS}": b"another run", f"s/x/y/{METRICS}": b"", "__MACOSX/s/._" + WEIGHTS: b"",
        f"s/{WEIGHTS.upper()}": b"", f"s/.{WEIGHTS}.tmp": b"", ".dashboard.lock": b"",
    }  # fmt: skip
    assert unpacked(zipped({**others, **in_folder(files, "s/")}), target) == tuple(others)
    assert files_of(target) == files


@pytest.mark.parametrize("missing", FILES)
@pytest.mark.parametrize("how", ["archive", "three files"])
def test_a_missing_file_is_named(files: dict[str, bytes], target: Path, missing: str, how: str) -> None:
    present = {name: content for name, content in files.items() if name != missing}
    with pytest.raises(BadArchiveError, match=f"^{missing} is missing"):
        if how == "archive":
            unpacked(zipped({**in_folder(present, "s/"), f"s/deep/{missing}": b"of another state"}), target)
        else:
            write_files({name: io.BytesIO(content) for name, content in present.items()}, target, LIMIT)
    assert files_of(target) == {}


def test_no_state_at_all_is_said_with_what_to_upload(files: dict[str, bytes], target: Path) -> None:
    for archive in (zipped({}), zipped({"a": b""}), files[WEIGHTS]):  # a weights file is an archive too
        with pytest.raises(BadArchiveError, match=f"no saved state.*{METRICS}.*Upload these three files"):
            unpacked(archive, target)
    with pytest.raises(BadArchiveError, match="no saved state"):
        write_files({}, target, LIMIT)


def test_several_states_are_not_guessed_at(files: dict[str, bytes], target: Path) -> None:
    with pytest.raises(BadArchiveError, match=r"2 saved states.*'a/', 'b/'"):
        unpacked(zipped({**in_folder(files, "b/"), **in_folder(files, "a/")}), target)
    many = {f"{number}/{WEIGHTS}": b"" for number in range(2000)}
    with pytest.raises(BadArchiveError, match=r"2000 saved states") as refused:
        unpacked(zipped(many), target)
    assert len(str(refused.value)) < 200
    assert files_of(target) == {}


@pytest.mark.parametrize("name", [f"../{WEIGHTS}", f"/{WEIGHTS}", f"C:\\{WEIGHTS}", f"a\\{WEIGHTS}"])
def test_a_file_uploaded_by_itself_has_a_name_within_a_folder_too(
    files: dict[str, bytes], target: Path, name: str
) -> None:
    streams = {key: io.BytesIO(content) for key, content in files.items() if key != WEIGHTS}
    with pytest.raises(BadArchiveError, match="not one within a folder"):
        write_files({**streams, name: io.BytesIO(files[WEIGHTS])}, target, LIMIT)
    with pytest.raises(BadArchiveError, match="twice"):
        write_files({**streams, WEIGHTS: io.BytesIO(), f"./{WEIGHTS}": io.BytesIO()}, target, LIMIT)
    with pytest.raises(BadArchiveError, match=f"{WEIGHTS} is missing"):
        write_files({**streams, "./": io.BytesIO(), f"{WEIGHTS}/x": io.BytesIO()}, target, LIMIT)
    assert files_of(target) == {}


# --- how much of them


def test_more_than_the_limit_is_not_taken_as_a_whole_or_in_parts(files: dict[str, bytes], target: Path) -> None:
    archive, total = zipped(files, zipfile.ZIP_DEFLATED), sum(map(len, files.values()))
    assert len(archive) < total - 1
    with pytest.raises(BadArchiveError, match="larger than is taken"):
        unpacked(archive, target, total - 1)
    assert files_of(target) == {}
    with pytest.raises(BadArchiveError, match=r"The archive has .* bytes"):
        unpacked(archive, target, len(archive) - 1)
    with pytest.raises(BadArchiveError, match="larger than is taken"):
        write_files({name: io.BytesIO(content) for name, content in files.items()}, target, total - 1)
    assert files_of(target) == {}
    unpacked(archive, target, total)
    assert files_of(target) == files


def test_a_system_state_is_small(files: dict[str, bytes], target: Path) -> None:
    with pytest.raises(BadArchiveError, match=f"{SYSTEM}.*larger"):
        unpacked(zipped({**files, SYSTEM: bytes((1 << 20) + 1)}), target)
    assert files_of(target) == {}


def test_a_bomb_among_the_files_is_refused_and_leaves_nothing(files: dict[str, bytes], target: Path) -> None:
    with pytest.raises(BadArchiveError, match="unpacks to far more"):
        unpacked(zipped({**files, WEIGHTS: bytes(40 << 20)}, zipfile.ZIP_DEFLATED), target)
    assert files_of(target) == {}


def test_a_disk_that_is_full_is_told_as_such_and_leaves_nothing(
    files: dict[str, bytes], target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write

    def full(descriptor: int, content: bytes) -> int:
        if len(content) > 5000:
            raise OSError(28, "No space left on device")
        return write(descriptor, content)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        unpacked(zipped(files), target)
    assert files_of(target) == {}


# --- what is in them


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["cut", "empty", "changed", "gone"])
def test_whatever_is_wrong_with_a_file_it_is_named(
    files: dict[str, bytes], target: Path, name: str, damage: str
) -> None:
    held = files[name]
    middle = len(held) // 2
    bad = {"cut": held[:-10], "empty": b"", "changed": held[:middle] + bytes([held[middle] ^ 1]) + held[middle + 1 :]}
    for file, whole in files.items():
        (target / file).write_bytes(whole)
    if damage == "gone":
        (target / name).unlink()
    else:
        (target / name).write_bytes(bad[damage])
    with pytest.raises(BadFileError) as refused:
        verify_import(target)
    assert refused.value.file == name


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_run_is_named(files: dict[str, bytes], tmp_path: Path, target: Path, name: str) -> None:
    (other,) = saved_states(5, run="d" * 16, seed=9)
    for file, whole in {**files, name: files_of(write_state(tmp_path / "other", other))[name]}.items():
        (target / file).write_bytes(whole)
    with pytest.raises(BadFileError) as refused:
        verify_import(target)
    assert refused.value.file in ((METRICS, SYSTEM) if name == WEIGHTS else (name,))


class _Trap:
    """Unpickled by trust, it runs code that leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self._trace),)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("generation", ["this", "earlier"])
def test_no_code_in_an_upload_is_run(
    files: dict[str, bytes], tmp_path: Path, target: Path, name: str, generation: str
) -> None:
    held = files if generation == "this" else files_of(write_earlier(tmp_path / "old"))
    trap = {"loss_history": _Trap(tmp_path / "trace"), "field": _Trap(tmp_path / "trace")}
    buffer = io.BytesIO()
    torch.save(trap, buffer)
    unpacked(archived({**held, name: buffer.getvalue() if name == WEIGHTS else pickle.dumps(trap)}), target)
    with pytest.raises(BadFileError) as refused:
        verify_import(target)
    assert refused.value.file == name
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    "rest",
    [
        {"q_table": {"0.5": 5}},
        {"q_table": None},
        {"neuroplasticity": {"plasticity": 1.0, "integrity_strikes": 0}},
        {"newest": {"text": b"bytes"}},
        {"neuroplasticity": {"plasticity": 1.0, "success_streak": 10**400, "mean_reward": 0.0, "integrity_strikes": 0}},
        {"neuroplasticity": {"plasticity": 1.0, "success_streak": 0, "mean_reward": 0.0, "integrity_strikes": -1}},
        {"optimizer_step": -1},
        {"optimizer_step": 2**60},
        {"generators": {"samples": torch.zeros(3, dtype=torch.uint8), "samples_device": "cpu", "exploration": None}},
    ],
)
def test_a_state_that_no_load_would_take_is_refused(target: Path, rest: dict[str, Any]) -> None:
    (state,) = saved_states(2)
    write_as_elsewhere(target, state, rest)
    with pytest.raises(DamagedFileError, match="does not fit the model") as refused:
        verify_import(target)
    assert refused.value.file == WEIGHTS


@pytest.mark.parametrize(
    "settings",
    [
        {"time_steps": 10_000, "synthetic_samples": 10_000},
        {"epochs": 10_000, "synthetic_samples": 1000},
        {"epochs": 1000, "strikes_in_a_row": 10_000},
    ],
)
def test_a_configuration_whose_step_would_not_end_is_refused(target: Path, settings: dict[str, int]) -> None:
    (state,) = saved_states(2)
    write_as_elsewhere(target, state, {}, **settings)
    with pytest.raises(MismatchError, match="too long"):
        verify_import(target)


def test_verifying_leaves_the_thread_count_of_the_process_alone(target: Path) -> None:
    (state,) = saved_states(2)
    before = torch.get_num_threads()
    write_as_elsewhere(target, state, {}, threads=before + 3)
    assert verify_import(target).state.config.threads == before + 3
    assert torch.get_num_threads() == before


def test_a_state_from_a_gpu_is_taken_where_there_is_none(target: Path) -> None:
    (state,) = saved_states(2)
    write_as_elsewhere(target, state, {}, device="cuda:1")
    assert verify_import(target).iteration_count == 2


def test_the_largest_field_is_not_too_long_for_a_machine() -> None:
    assert transfer._work_of(TrainingConfig(field_size=LARGEST_FIELD)) < transfer._MOST_WORK


def test_metrics_that_are_lists_of_numbers_are_taken_up_to_a_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = write_earlier(tmp_path / "old", metrics=earlier_metrics(1000))
    new = write_state(tmp_path / "new", *saved_states(300))
    monkeypatch.setattr("quadra.states.transfer._LARGEST_PICKLE", 4096)
    assert min((place / METRICS).stat().st_size for place in (old, new)) > 4096
    with pytest.raises(DamagedFileError, match=r"--state-dir") as refused:
        verify_import(old)
    assert refused.value.file == METRICS
    assert verify_import(new).iteration_count == 300


def test_a_marked_state_says_where_it_came_from_and_was_never_chosen(files: dict[str, bytes], target: Path) -> None:
    unpacked(archived(files), target)
    arrival = verify_import(target)
    assert arrival.state.record.load_rank == 1
    mark_imported(target, arrival)
    record = peek(target / WEIGHTS)
    assert record == replace(arrival.state.record, imported=True, load_rank=0)
    assert read_plain(target / SYSTEM, arrays=False)["chosen"] == 0
    assert torch.load(target / WEIGHTS, weights_only=True)["iteration_count"] == 5
    assert files_of(target).keys() == set(FILES)
    assert verify_import(target).state.damaged == ()


def test_what_an_upload_says_in_its_favour_counts_for_nothing(tmp_path: Path, target: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret\n")
    (state,) = saved_states(3)
    corpus = {**state.engine["corpus"], "path": str(secret), "fingerprint": None}
    write_as_elsewhere(target, replace(state, record=replace(state.record, imported=False)), {"corpus": corpus})
    mark_imported(target, verify_import(target))
    with opened(target) as loaded:
        loaded.load()
        assert loaded.step()["text"] == Corpus().next_line()


# --- names


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("my run", "quadramatrix-my-run-7"),
        (None, "quadramatrix-aaaaaaaa-7"),
        ("", "quadramatrix-aaaaaaaa-7"),
        ("../../etc/passwd", "quadramatrix-etc-passwd-7"),
        ("..", "quadramatrix-aaaaaaaa-7"),
        ('a"; b\r\nX: y', "quadramatrix-a-b-X-y-7"),
        ("CON", "quadramatrix-CON-7"),
        ("C:\\x", "quadramatrix-C-x-7"),
        ("größer als 日本", "quadramatrix-größer-als-日本-7"),
        ("\ud800\0\u202e<>|?*", "quadramatrix-aaaaaaaa-7"),
        ("x" * 500, f"quadramatrix-{'x' * 50}-7"),
    ],
)
def test_an_archive_is_called_after_the_state_in_characters_that_any_system_takes(
    name: str | None, expected: str
) -> None:
    assert archive_name(name, RUN_A, 7) == expected
    assert safe_name(expected) == expected


@given(st.text())
def test_any_text_makes_a_name_without_places_in_it(text: str) -> None:
    name = safe_name(text)
    assert name.startswith("quadramatrix-")
    assert not set(name) & set('/\\:*?"<>|\0\r\n ')
    assert len(name) <= 100
    assert name[-1] not in ".-"


# --- archives that somebody changed


@contextmanager
def place() -> Iterator[Path]:
    """A folder with an empty one in it; nothing else may appear there."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "target").mkdir()
        (folder / "beside").write_bytes(b"untouched")
        yield folder / "target"
        assert {path.name for path in folder.iterdir()} == {"target", "beside"}
        assert (folder / "beside").read_bytes() == b"untouched"


def mutated(archive: bytes, chance: Random) -> bytes:
    """The archive cut, with changed bytes, with parts exchanged, repeated or put in; most often where its directory is."""
    changed = bytearray(archive)
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        start = max(0, len(changed) - chance.choice((30, 300, len(changed))))
        at = chance.randrange(start, len(changed)) if len(changed) > start else 0
        kind = chance.randrange(7)
        if kind == 0:
            del changed[at:]
        elif kind == 1:
            changed[at : at + 1] = bytes([chance.randrange(256)])
        elif kind == 2:
            changed[at : at + 4] = chance.choice((bytes(4), b"\xff" * 4, b"\xff\xff\xff\x7f", chance.randbytes(4)))
        elif kind == 3:
            changed[at:at] = chance.randbytes(chance.choice((1, 16, 400)))
        elif kind == 4:
            del changed[at : at + chance.choice((1, 16, 400))]
        elif kind == 5:
            other = chance.randrange(len(changed) + 1)
            one, two = sorted((at, other))
            changed = changed[two:] + changed[one:two] + changed[:one]
        else:
            changed += changed[at:]
        if not changed:
            break
    return bytes(changed)


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32), deflated=st.booleans())
def test_a_changed_archive_is_refused_or_gives_the_right_state_and_nothing_else_happens(
    files: dict[str, bytes], seed: int, deflated: bool
) -> None:
    method = zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED
    archive = mutated(zipped({**in_folder(files, "s/"), "s/notes": b"notes"}, method), Random(seed))
    with place() as target:
        try:
            unpacked(archive, target, 1 << 20)
        except BadArchiveError:
            assert files_of(target) == {}
            return
        assert files_of(target) == files


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), name=st.sampled_from(FILES))
def test_a_changed_file_is_refused_or_gives_the_right_state_and_nothing_else_happens(
    files: dict[str, bytes], seed: int, name: str
) -> None:
    """As three files there is no checksum but those that are in them."""
    with place() as target:
        streams = {file: io.BytesIO(content) for file, content in files.items()}
        streams[name] = io.BytesIO(mutated(files[name], Random(seed)))
        write_files(streams, target, LIMIT)
        try:
            state = verify_import(target).state
        except BadFileError as error:
            assert error.file == name
            return
        assert_same_state(state, *saved_states(5))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_true_seal_around_a_changed_archive_raises_nothing_but_our_own_errors(seed: int) -> None:
    """Anybody can seal a file anew."""
    (state,) = saved_states(2)
    whole = sealed_weights(state)
    unsealed = whole[: whole.rindex(b"PK\x05\x06") + 20] + b"\0\0"
    forged = mutated(unsealed[:-22], Random(seed)) + unsealed[-22:]
    with place() as target:
        write_state(target, state)
        (target / WEIGHTS).write_bytes(b"".join(map(bytes, seal([forged], state.record))))
        try:
            found = verify_import(target)
        except BadFileError:
            return
        mark_imported(target, found)
        with opened(target) as loaded:
            assert loaded.load_state()
