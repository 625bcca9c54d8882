"""A saved state on another machine: without its GPU, without its text, with another system's paths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from quadra.errors import ConfigurationError, CorpusError, LoadError
from quadra.model.corpus import BUILT_IN_NAME, Corpus
from quadra.model.engine import Engine
from quadra.storage.files import safe_pickle
from quadra.storage.layout import FILES
from quadra.storage.saved_state import SavedState, read
from tests.helpers.state_helpers import (
    assert_same,
    content,
    files_of,
    new_run,
    opened,
    saved_states,
    train,
    write_as_elsewhere,
    write_earlier,
)

LINES = "one line\nanother line\nand a third one\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A state directory that is not there yet."""
    return tmp_path / "state"


def state_of_three() -> SavedState:
    (state,) = saved_states(3)
    return state


def write_from_gpu(folder: Path, device: str = "cuda") -> SavedState:
    """A state as a machine with a GPU saves it: the samples' generator is another kind, of 16 bytes."""
    state = state_of_three()
    samples = torch.arange(16, dtype=torch.uint8)
    generators = {**state.engine["generators"], "samples": samples, "samples_device": device}
    write_as_elsewhere(folder, state, {"generators": generators}, device=device)
    return state


@pytest.mark.parametrize("device", ["cuda", "cuda:3"])
def test_a_state_from_a_gpu_is_loaded_where_there_is_none_and_the_difference_is_said(folder: Path, device: str) -> None:
    state = write_from_gpu(folder, device)
    assert read(folder).config.device == device
    with opened(folder) as loaded:
        report = loaded.load()
        assert [device in told and "cpu" in told for told in report.warnings] == [True]
        assert loaded.config.device == "cpu"
        found = content(loaded)
        for name in (
            "field_update",
            "syntropy",
            "feedback",
            "optimizer",
            "field",
            "q_table",
            "neuroplasticity",
            "corpus",
        ):
            assert_same({name: found[name]}, {name: state.engine[name]})
        train(loaded, 2)
        assert loaded.save_state()
        expected = content(loaded)
    with opened(folder) as loaded:
        assert loaded.load().warnings == ()
        assert_same(content(loaded), expected)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_device_that_is_not_there_is_named_and_no_state_is_taken_for_damaged(folder: Path) -> None:
    with opened(folder) as state:
        new_run(state, 3, "stopped")
    before = files_of(folder)
    with opened(folder, device="cuda") as state:
        with pytest.raises(ConfigurationError, match="cuda"):
            state.load()
        assert not state.is_initialized
    assert files_of(folder) == before


def write_with_text(folder: Path, path: str, fingerprint: str | None = "0" * 64, imported: bool = False) -> None:
    """A state whose run was trained on a text elsewhere, and read one line of it."""
    state = state_of_three()
    corpus = {"path": path, "fingerprint": fingerprint, "file": 0, "offset": len(LINES.splitlines()[0]) + 1}
    state = replace(state, record=replace(state.record, imported=imported))
    write_as_elsewhere(folder, state, {"corpus": corpus}, corpus=path)


ELSEWHERE = [
    r"C:\Users\Me\texts\corpus.txt", r"\\server\share\corpus.txt", "C:/texts/corpus.txt", "/Users/me/corpus.txt",
    "relative.txt", "/" + "long/" * 3000, "/" + "x" * 300, "/with\0zero", "/two\nlines", "",
]  # fmt: skip


@pytest.mark.parametrize("path", ELSEWHERE, ids=lambda path: repr(path[:30]))
def test_a_text_of_another_machine_is_named_and_training_continues_on_the_built_in_one(folder: Path, path: str) -> None:
    write_with_text(folder, path)
    with opened(folder) as state:
        report = state.load()
        (told,) = report.warnings
        assert str(path) in told
        assert BUILT_IN_NAME in told
        assert "--corpus" in told
        assert state.step()["text"] == Corpus().next_line()
        assert state.save_state()


def test_a_path_that_this_machine_lets_nobody_look_at_is_a_text_that_is_not_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_with_text(folder, "/home/somebody/corpus.txt")
    stat = Path.stat

    def forbidden(self: Path, **options: Any) -> Any:
        if "somebody" in str(self):
            raise PermissionError(13, "Permission denied")
        return stat(self, **options)

    monkeypatch.setattr(Path, "stat", forbidden)
    with opened(folder) as state:
        assert "/home/somebody/corpus.txt" in " ".join(state.load().warnings)
        train(state, 1)


def test_a_text_that_came_along_is_found_by_its_content_at_its_place(folder: Path, tmp_path: Path) -> None:
    text = tmp_path / "here.txt"
    text.write_bytes(LINES.encode())
    write_with_text(folder, r"D:\texts\there.txt", Corpus(text).fingerprint)
    with opened(folder, corpus=str(text)) as state:
        report = state.load()
        assert not any("changed" in told for told in report.warnings)
        assert state.step()["text"] == "another line"


@pytest.mark.parametrize("fingerprint", [None, "", "0" * 64])
def test_a_state_from_elsewhere_cannot_have_a_file_of_this_machine_shown(
    folder: Path, tmp_path: Path, fingerprint: str | None
) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret\n")
    write_with_text(folder, str(secret), fingerprint, imported=True)
    with opened(folder) as state:
        assert str(secret) in " ".join(state.load().warnings)
        assert state.step()["text"] == Corpus().next_line()
        assert state.save_state()
    with opened(folder) as state:  # by now it is a state of this folder, and on another text
        state.load()
        assert state.engine.corpus.path is None
        assert state.step()["text"] != "the secret"


def test_a_state_from_elsewhere_finds_its_own_text_at_its_path_or_where_new_runs_get_theirs(
    folder: Path, tmp_path: Path
) -> None:
    text = tmp_path / "text.txt"
    text.write_text(LINES)
    write_with_text(folder, str(text), Corpus(text).fingerprint, imported=True)
    with opened(folder) as state:
        assert state.load().warnings == ()
        assert state.step()["text"] == "another line"
        state.release()
    text.write_text("changed\n")
    write_with_text(folder, str(text), "1" * 64, imported=True)
    with opened(folder, corpus=str(text)) as state:
        assert "changed" in " ".join(state.load().warnings)
        assert state.step()["text"] == "changed"


@pytest.mark.parametrize("place", [{"offset": -5}, {"offset": 2**70}, {"offset": 10**6}, {"file": 7}, {"file": -1}])
def test_a_place_that_is_not_in_the_text_leads_to_its_beginning_at_the_load_and_is_not_met_in_training(
    folder: Path, place: dict[str, int]
) -> None:
    state = state_of_three()
    write_as_elsewhere(folder, state, {"corpus": {**state.engine["corpus"], **place}})
    with opened(folder) as loaded:
        (told,) = loaded.load().remarks()
        assert "from the beginning" in told
        assert loaded.step()["text"] == Corpus().next_line()


@pytest.mark.parametrize(
    "newest", [{"text": b"bytes"}, {"pattern": None}, {"action": torch.zeros(2)}, {"text": 1.5}, []]
)
def test_what_browsers_could_not_be_sent_is_refused_at_the_load(folder: Path, newest: Any) -> None:
    write_as_elsewhere(folder, state_of_three(), {"newest": newest})
    with opened(folder) as loaded:
        assert not loaded.load_state()


def test_an_entry_of_the_newest_iteration_that_nobody_knows_is_no_harm(folder: Path) -> None:
    state = state_of_three()
    write_as_elsewhere(folder, state, {"newest": {**state.engine["newest"], "unknown": 1}})
    with opened(folder) as loaded:
        assert loaded.load_state()
        assert {name for name in files_of(folder) if "/" not in name} == set(FILES)


def test_a_text_that_was_longer_while_the_run_was_trained_is_read_from_its_beginning_and_that_is_said(
    folder: Path, tmp_path: Path
) -> None:
    text = tmp_path / "text.txt"
    text.write_text(LINES)
    with opened(folder, corpus=str(text)) as state:
        state.initialize()
        with text.open("a") as stream:
            stream.write("one more line\n" * 3)
        train(state, 5)
        assert state.save_state()
    text.write_text(LINES)
    before = files_of(folder)
    with opened(folder, corpus=str(text)) as state:
        report = state.load()
        (told,) = report.remarks()
        assert "longer" in told
        assert "beginning" in told
        assert state.iteration_count == 5
        assert state.step()["text"] == "one line"
    assert set(before) <= set(files_of(folder))
    assert not any("set-aside" in name for name in files_of(folder))


Fault = Callable[[pytest.MonkeyPatch, Path], None]


def no_text_can_be_read(patch: pytest.MonkeyPatch, _: Path) -> None:
    def refused(*_: Any, **__: Any) -> Any:
        raise OSError(24, "Too many open files")

    patch.setattr(Path, "open", lambda file, *a, **k: refused() if file.suffix == ".txt" else PATH_OPEN(file, *a, **k))


def no_memory_for_weights(patch: pytest.MonkeyPatch, _: Path) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory")

    patch.setattr(torch, "load", full)


def no_memory_for_plain_data(patch: pytest.MonkeyPatch, _: Path) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise MemoryError

    patch.setattr(safe_pickle, "_PlainUnpickler", full)


def no_engine_can_be_made(patch: pytest.MonkeyPatch, _: Path) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("cannot cache function: no locator available")

    patch.setattr("quadra.states.restore.Engine", broken)


PATH_OPEN = Path.open
FAULTS: tuple[Fault, ...] = (
    no_text_can_be_read,
    no_memory_for_weights,
    no_memory_for_plain_data,
    no_engine_can_be_made,
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("is_legacy", [False, True], ids=["of this generation", "of the earlier one"])
def test_what_the_machine_lacks_makes_no_saved_state_a_damaged_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault, is_legacy: bool
) -> None:
    if is_legacy:
        write_earlier(folder)
    else:
        with opened(folder) as state:
            new_run(state, 4, "stopped")
    before = files_of(folder)
    with opened(folder) as state:
        with monkeypatch.context() as patch:
            fault(patch, folder)
            try:
                state.load()
                assert (fault, is_legacy) == (no_memory_for_plain_data, False), "nothing was lacking"
            except LoadError as error:
                assert " now" in str(error)
                assert not state.is_initialized
                assert files_of(folder) == before
        state.load()
        assert state.iteration_count == 4


def test_a_state_loads_though_the_working_folder_is_gone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(folder) as state:
        new_run(state, 3, "stopped")
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with opened(folder, corpus="text.txt") as state:
        assert state.load().fell_back is False
        assert state.iteration_count == 3


def test_a_generator_of_another_version_of_torch_starts_fresh_and_that_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(folder) as state:
        new_run(state, 3, "stopped")
    monkeypatch.setattr(Engine, "has_samples_generator", lambda *_: False)
    with opened(folder) as state:
        (told,) = state.load().warnings
        assert "another version of torch" in told
        assert "fresh" in told
        train(state, 1)


@pytest.mark.parametrize("seconds", [-(10**12), 10**13])
def test_a_folder_of_the_earlier_generation_loads_whatever_its_files_say_of_their_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    write_earlier(folder)
    monkeypatch.setattr("quadra.storage.catalog._changed_at", lambda file: seconds)
    with opened(folder) as state:
        assert state.load().record.iteration_count == 4


def test_a_new_run_is_refused_on_a_text_in_another_encoding_and_one_that_was_begun_on_it_goes_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tmp_path / "text.txt"
    text.write_bytes(LINES.encode("utf-16"))
    with opened(folder, corpus=str(text)) as state, pytest.raises(CorpusError, match="UTF-16"):
        state.initialize()
    with opened(folder, corpus=str(text)) as state, monkeypatch.context() as patch:
        patch.setattr(Corpus, "require_utf8", lambda _: None)  # as it was before encodings were looked at
        new_run(state, 2, "stopped")
        expected = Corpus(text)
    with opened(folder) as state:
        assert state.load().remarks() == []
        assert state.step()["text"] == [expected.next_line() for _ in range(3)][2]


def test_a_text_in_another_encoding_takes_the_place_of_no_text_that_is_gone(folder: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_bytes(LINES.encode())
    with opened(folder, corpus=str(text)) as state:
        new_run(state, 2, "stopped")
    text.write_bytes(LINES.encode("utf-16"))
    with opened(folder) as state:
        assert "changed" in " ".join(state.load().remarks())
        assert state.step()["text"] == Corpus().next_line()
