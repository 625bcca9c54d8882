"""Records: a sealed weights file opens with stock tools, and nothing in it can change without being noticed."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import struct
import zipfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from quadra.errors import BadFileError, DamagedFileError, InaccessibleFileError, MissingFileError, NewerFormatError
from quadra.storage.save_record import FORMAT_VERSION, SaveRecord, dump, peek, resealed, seal, verify
from tests.helpers.state_helpers import record

FILE = "oscillator_weights.pth"


@cache
def archive() -> bytes:
    buffer = io.BytesIO()
    torch.save({"field": torch.arange(4.0), "q_table": {"0.5": {"update_field": 0.25}}}, buffer)
    return buffer.getvalue()


@cache
def sealed(kept: SaveRecord | None = None) -> bytes:
    return b"".join(seal([archive()], kept or record()))


def written(folder: Path, content: bytes) -> Path:
    path = folder / FILE
    path.write_bytes(content)
    return path


whole_numbers = st.integers(0, 2**53)
records = st.builds(
    SaveRecord,
    run=st.text("0123456789abcdef", min_size=16, max_size=16),
    sequence=st.integers(1, 2**53),
    iteration_count=whole_numbers,
    saved_at=st.datetimes().map(lambda moment: moment.isoformat(timespec="milliseconds") + "Z"),
    ended=st.sampled_from(["stopped", "cut off"]),
    load_rank=whole_numbers,
    field_size=st.integers(2, 1_000_000),
    seed=st.integers(0, 2**53 - 1),
    history_sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
    metrics_rows=st.just(0),
).flatmap(lambda kept: st.builds(replace, st.just(kept), metrics_rows=st.integers(0, kept.iteration_count)))


@given(records)
def test_a_sealed_record_is_verified_as_it_was(kept: SaveRecord) -> None:
    assert verify(sealed(kept), FILE) == kept


@given(st.lists(st.integers(0, 10**6), max_size=5))
def test_the_seal_does_not_depend_on_the_pieces_in_which_the_archive_comes(cuts: list[int]) -> None:
    places = sorted({0, *(cut % (len(archive()) - 2) for cut in cuts)})
    pieces = [archive()[start:end] for start, end in itertools.pairwise([*places, len(archive())])]
    taken = [memoryview(piece) if number % 2 else piece for number, piece in enumerate(pieces)]
    assert b"".join(seal(taken, record())) == sealed()
    assert [bytes(piece) for piece in taken] == pieces


def test_a_peek_gives_the_record_without_reading_the_rest(tmp_path: Path) -> None:
    content = sealed()
    assert peek(written(tmp_path, content)) == record()
    assert peek(written(tmp_path, b"?" * 100_000 + content)) == record()


def test_stock_torch_opens_a_sealed_file() -> None:
    weights = torch.load(io.BytesIO(sealed()), weights_only=True)
    assert weights["field"].tolist() == [0, 1, 2, 3]
    assert weights["q_table"] == {"0.5": {"update_field": 0.25}}


def test_stock_zip_tools_open_a_sealed_file_and_read_the_record() -> None:
    with zipfile.ZipFile(io.BytesIO(sealed())) as opened:
        assert opened.testzip() is None
        assert json.loads(opened.comment[:-64])["run"] == record().run


def test_the_file_names_each_entry_as_it_always_did() -> None:
    values = json.loads(dump(record(load_rank=7, imported=True)))
    assert (values["chosen"], values["foreign"]) == (7, True)
    assert set(values) == {
        "run", "sequence", "iteration_count", "saved_at", "ended", "chosen", "field_size", "seed", "history_sha256",
        "metrics_rows", "format_version", "foreign", "loss", "reward", "parent", "program", "loaded_at", "struck_at",
        "save_number",
    }  # fmt: skip


def test_a_file_that_was_never_sealed_has_no_record(tmp_path: Path) -> None:
    assert verify(archive(), FILE) is None
    assert peek(written(tmp_path, archive())) is None


def test_every_flipped_bit_is_noticed() -> None:
    content = bytearray(sealed())
    unnoticed = []
    for place in range(len(content)):
        for bit in range(8):
            content[place] ^= 1 << bit
            try:
                verify(bytes(content), FILE)
                unnoticed.append((place, bit))
            except DamagedFileError as error:
                assert error.file == FILE
            content[place] ^= 1 << bit
    assert unnoticed == []


@given(st.data())
def test_every_changed_stretch_is_noticed(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(sealed()) - 1))
    length = data.draw(st.integers(1, min(200, len(sealed()) - start)))
    garbage = data.draw(st.binary(min_size=0, max_size=200))
    changed = sealed()[:start] + garbage + sealed()[start + length :]
    if changed != sealed():
        with pytest.raises(DamagedFileError):
            verify(changed, FILE)


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    for length in range(len(sealed())):
        with pytest.raises(DamagedFileError):
            verify(sealed()[:length], FILE)
    for length in (0, 1, len(sealed()) // 2, len(sealed()) - 64, len(sealed()) - 1):
        with pytest.raises(DamagedFileError):
            peek(written(tmp_path, sealed()[:length]))


def test_something_behind_the_end_is_noticed() -> None:
    with pytest.raises(DamagedFileError):
        verify(sealed() + b"\0", FILE)


def test_two_files_glued_together_are_noticed() -> None:
    with pytest.raises(DamagedFileError):
        verify(sealed() + sealed(), FILE)


def test_a_newer_format_is_told_apart_from_damage(tmp_path: Path) -> None:
    newer = sealed(record(format_version=FORMAT_VERSION + 1))
    for read in (lambda: verify(newer, FILE), lambda: peek(written(tmp_path, newer))):
        with pytest.raises(NewerFormatError, match=rf"format {FORMAT_VERSION + 1}.*Update") as refused:
            read()
        assert refused.value.file == FILE


def test_a_newer_format_whose_record_has_other_entries_is_a_newer_format() -> None:
    with pytest.raises(NewerFormatError):
        verify(_sealed_text(json.dumps({"format_version": FORMAT_VERSION + 1, "anything": "else"})), FILE)


@pytest.mark.parametrize(
    "changes",
    [
        {"run": "../../outside"},
        {"run": "/outside"},
        {"run": ""},
        {"run": 5},
        {"sequence": "1"},
        {"sequence": -1},
        {"iteration_count": -1},
        {"iteration_count": 2.5},
        {"load_rank": None},
        {"ended": "never"},
        {"saved_at": 5},
        {"field_size": "8"},
        {"seed": None},
        {"metrics_rows": -1},
        {"metrics_rows": 4},  # more than there are
        {"metrics_rows": None},
        {"format_version": True},
        {"format_version": "1"},
        {"imported": 1},
        {"imported": None},
    ],
)
def test_a_forged_record_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    forged = sealed(record(**{"metrics_rows": 0, **changes}))
    with pytest.raises(DamagedFileError):
        verify(forged, FILE)
    with pytest.raises(DamagedFileError):
        peek(written(tmp_path, forged))


@pytest.mark.parametrize("text", ["{}", "[]", "5", "null", "{", '{"format_version": 1}', "[" * 60_000])
def test_a_record_that_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(DamagedFileError):
        verify(_sealed_text(text), FILE)


def test_a_record_of_format_1_had_all_rows_in_the_metrics_file() -> None:
    values = {**json.loads(dump(record(iteration_count=7))), "format_version": 1}
    del values["metrics_rows"]
    found = verify(_sealed_text(json.dumps(values)), FILE)
    assert found == record(iteration_count=7, metrics_rows=7, format_version=1)


def test_a_record_of_before_states_could_be_uploaded_is_the_folders_own() -> None:
    values = json.loads(dump(record()))
    del values["foreign"]
    found = verify(_sealed_text(json.dumps(values)), FILE)
    assert found == record()
    assert not found.imported


@given(records)
def test_a_file_that_is_sealed_anew_has_the_other_record_and_the_same_content(other: SaveRecord) -> None:
    again = b"".join(resealed(sealed(), other))
    assert verify(again, FILE) == other
    assert again == sealed(other)


def test_a_file_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError) as missing:
        peek(tmp_path / FILE)
    assert missing.value.file == FILE


def test_a_file_that_the_system_withholds_is_inaccessible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def withheld(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", withheld)
    with pytest.raises(InaccessibleFileError, match="Permission denied"):
        peek(tmp_path / FILE)


def test_a_peek_at_a_damaged_file_gives_a_record_or_one_of_our_errors(tmp_path: Path) -> None:
    content = bytearray(sealed())
    for place in range(len(content) - 600, len(content)):
        content[place] ^= 0x10
        try:
            assert isinstance(peek(written(tmp_path, bytes(content))), SaveRecord | None)
        except BadFileError as error:
            assert error.file == FILE
        content[place] ^= 0x10


def _sealed_text(text: str) -> bytes:
    """A file that is sealed around something else than a record."""
    unsealed = archive()[:-2] + struct.pack("<H", len(text) + 64) + text.encode()
    return unsealed + hashlib.sha256(unsealed).hexdigest().encode()
