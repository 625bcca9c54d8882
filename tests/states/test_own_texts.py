"""Own texts: what is taken, how a run finds its own again anywhere, and that a crash or damage costs nothing else."""

from __future__ import annotations

import io
import itertools
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from quadra import TrainingState
from quadra.errors import ConfigurationError, CorpusError, DamagedFileError, FolderUnusableError, SaveError
from quadra.reports import prove
from quadra.reports.check import check
from quadra.states import own_texts as corpora
from quadra.states.manage import StateManager
from quadra.states.own_texts import (
    LARGEST_TEXT,
    UploadedText,
    describe,
    id_of,
    open_corpus,
    own_texts,
    reference_of,
    write_received,
)
from quadra.states.read_only import read_portable_files
from quadra.states.transfer import mark_imported, unpack, verify_import, write_archive
from quadra.storage.folder import StateFolder
from quadra.storage.layout import CORPORA, UPLOADED_TEXT
from quadra.storage.reset import describe_deletable
from quadra.storage.restore_points import RestorePoints, Retention
from tests.helpers.state_helpers import (
    REPOSITORY,
    Crash,
    assert_same,
    content,
    fault,
    files_of,
    opened,
    saved_states,
    train,
    write_state,
)

LINES = ["The first line of my own.", "", "A second, with ümlauts.", "   ", "And a third."]
TEXT = "\n".join(LINES).encode()
OPERATIONS = ("open", "write", "fsync", "replace", "link", "mkdir", "rename")


def uploaded(place: Path, text: bytes = TEXT, name: str = "mine.txt") -> tuple[Path, UploadedText]:
    """A text as it stands once it was sent."""
    place.mkdir(parents=True, exist_ok=True)
    return place / UPLOADED_TEXT, write_received([text], place / UPLOADED_TEXT, name)


def given(state: TrainingState, place: Path, text: bytes = TEXT) -> str:
    """Give a text, and begin a run on it; its id."""
    file, own = uploaded(place, text)
    state.saved_states.add_text(file, own)
    state.initialize(corpus=own.id)
    return own.id


def manager_of(folder: StateFolder) -> StateManager:
    return StateManager(folder, RestorePoints(folder.layout, Retention()))


def test_a_text_is_measured_as_it_is_written(tmp_path: Path) -> None:
    file, own = uploaded(tmp_path, name=" my\ttext\0 ")
    assert file.read_bytes() == TEXT
    assert (own.name, own.lines, own.size, own.cut) == ("my text", 3, len(TEXT), 0)
    _, long = uploaded(tmp_path, b"x" * 10_001 + b"\nshort\n")
    assert (long.lines, long.cut) == (2, 1)


@pytest.mark.parametrize(
    ("pieces", "reason"),
    [
        ([b""], "no line"),
        ([b" \n\n\t\r\n"], "no line"),
        ([b"text\n", b"\0binary"], "not plain text"),
        ("größer".encode("utf-16"), "not plain text"),
        ([b"x" * 600_000, b"y" * 600_000], "larger than 1 MB"),
    ],
)
def test_what_cannot_be_trained_on_is_refused_with_its_reason(
    tmp_path: Path, pieces: list[bytes] | bytes, reason: str
) -> None:
    sent = [pieces] if isinstance(pieces, bytes) else pieces
    with pytest.raises(CorpusError, match=reason):
        write_received(sent, tmp_path / "text.txt", "x", 1_000_000)


def test_the_limit_is_what_the_guide_says() -> None:
    assert LARGEST_TEXT == 20_000_000
    assert "20 MB" in (REPOSITORY / "docs" / "guide" / "own-text.md").read_text(encoding="utf-8")


def test_a_run_trains_on_the_lines_that_were_given(tmp_path: Path) -> None:
    with opened(tmp_path / "state") as state:
        text = given(state, tmp_path / "upload")
        seen = [state.step()["text"] for _ in range(4)]
        assert seen == [LINES[0], LINES[2], LINES[4], LINES[0]]
        assert state.config.corpus == f"{CORPORA}/{text}.txt"
        assert state.identity()["corpus"] == "mine.txt"
        assert state.identity()["own_text"] == text


def test_a_copied_folder_continues_elsewhere_to_the_bit(tmp_path: Path) -> None:
    with opened(tmp_path / "here" / "state") as state:
        given(state, tmp_path / "upload")
        train(state, 3)
        state.save()
        shutil.copytree(tmp_path / "here" / "state", tmp_path / "there" / "copy")
        train(state, 5)
        expected = content(state)
    shutil.rmtree(tmp_path / "here")
    with opened(tmp_path / "there" / "copy") as state:
        report = state.load()
        assert report.remarks() == []
        train(state, 5)
        assert_same(content(state), expected)


def test_an_archive_carries_the_text_and_continues_elsewhere_to_the_bit(tmp_path: Path) -> None:
    with opened(tmp_path / "here") as state:
        text = given(state, tmp_path / "upload")
        train(state, 3)
        state.save()
        run = state.run.id
        _, files = read_portable_files(state.folder.layout, run, state.config)
        train(state, 5)
        expected = content(state)
    archive = io.BytesIO()
    write_archive(archive, files, "mine")
    arrived = tmp_path / "arrived"
    arrived.mkdir()
    assert unpack(archive, arrived, 10_000_000) == ()
    mark_imported(arrived, verify_import(arrived))
    with opened(tmp_path / "there") as state:
        slot = state.saved_states.import_folder(arrived, "from afar")
        assert [(own.id, own.name, own.lines) for own in own_texts(state.folder.path)] == [(text, "mine.txt", 3)]
        assert "trained on" not in " ".join(state.load(slot).remarks())
        train(state, 5)
        assert_same(content(state), expected)


def test_of_an_archive_only_the_text_of_its_run_is_taken_and_a_forged_one_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path / "here") as state:
        text = given(state, tmp_path / "upload")
        train(state, 2)
        state.save()
        _, files = read_portable_files(state.folder.layout, state.run.id, state.config)
    other = "0" * 64

    def arrive(**changes: bytes) -> Path:
        archive, place = io.BytesIO(), tmp_path / f"arrived{len(list(tmp_path.iterdir()))}"
        place.mkdir()
        write_archive(archive, {**files, **{name.replace("__", "/"): [text] for name, text in changes.items()}}, "x")
        unpack(archive, place, 10_000_000)
        mark_imported(place, verify_import(place))
        return place

    with_more = {f"corpora__{other}.txt": b"another\n", f"corpora__{text}.json": b'{"name": ["no"], "lines": "x"}'}
    place = arrive(**with_more)
    assert not (place / f"{other}.txt").exists()
    assert describe(place / f"{text}.txt").name == f"own text {text[:8]}"
    with pytest.raises(DamagedFileError, match="another content"):
        arrive(**{f"corpora__{text}.txt": b"forged\n"})


def test_a_run_with_its_own_text_can_be_proved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prove, "_train", prove.train)  # in this process, which is faster
    with opened(tmp_path / "state") as state:
        given(state, tmp_path / "upload")
        train(state, 3)
        state.save()
    certificate = prove.prove(tmp_path / "state", 4)
    assert certificate.different == []


def test_two_runs_share_one_text_and_one_begun_anew_starts_at_its_first_line(tmp_path: Path) -> None:
    with opened(tmp_path / "state") as state:
        text = given(state, tmp_path / "upload")
        train(state, 2)
        assert given(state, tmp_path / "again") == text
        assert state.step()["text"] == LINES[0]
        assert len(list((tmp_path / "state" / CORPORA).glob("*.txt"))) == 1


@pytest.mark.parametrize("choice", ["0" * 64, "../../etc/passwd", "corpora/x.txt", "", "built-in "])
def test_a_text_that_is_not_there_is_refused_and_changes_nothing(tmp_path: Path, choice: str) -> None:
    with opened(tmp_path / "state") as state:
        state.initialize()
        run = state.run.id
        with pytest.raises(ConfigurationError, match="corpus"):
            state.initialize(corpus=choice)
        assert state.run.id == run


def test_the_built_in_corpus_can_be_chosen_where_another_one_is_the_default(tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("Of the command line.\n")
    with opened(tmp_path / "state", corpus=str(tmp_path / "lines.txt")) as state:
        state.initialize()
        assert state.step()["text"] == "Of the command line."
        state.initialize(corpus=corpora.BUILT_IN_CHOICE)
        assert state.step()["text"] != "Of the command line."
        assert state.config.corpus is None


def test_a_link_in_place_of_a_text_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret\n")
    with opened(tmp_path / "state") as state:
        file, own = uploaded(tmp_path / "upload")
        place = state.folder.corpora_folder()
        (place / f"{own.id}.txt").symlink_to(tmp_path / "secret.txt")
        assert own_texts(state.folder.path) == ()
        with pytest.raises(CorpusError):
            open_corpus(reference_of(own.id), state.folder.path)
        (place / f"{own.id}.txt").unlink()
        place.rmdir()
        place.symlink_to(tmp_path)
        with pytest.raises(FolderUnusableError, match="link"):
            state.saved_states.add_text(file, own)


def test_a_text_that_is_gone_or_altered_is_said_and_the_run_still_loads(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with opened(folder) as state:
        text = given(state, tmp_path / "upload")
        train(state, 2)
        state.save()
    assert all(finding.is_good for finding in check(folder))
    file = folder / CORPORA / f"{text}.txt"
    file.write_bytes(TEXT + b"\nmore")
    assert any("was altered" in finding.text for finding in check(folder) if not finding.is_good)
    file.unlink()
    assert any("is not there" in finding.text for finding in check(folder) if not finding.is_good)
    with opened(folder) as state:
        assert any("has changed or is not there any more" in remark for remark in state.load().remarks())
        assert state.iteration_count == 2


def test_an_altered_text_is_set_aside_when_it_is_given_again_and_the_run_is_whole(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with opened(folder) as state:
        text = given(state, tmp_path / "upload")
        file = folder / CORPORA / f"{text}.txt"
        file.write_bytes(b"what somebody wrote over it\n")
        assert given(state, tmp_path / "again") == text
        assert file.read_bytes() == TEXT
        (kept,) = (folder / "set-aside").glob("*/*.txt")
        assert kept.read_bytes() == b"what somebody wrote over it\n"


def test_reset_deletes_own_texts_and_nothing_else_beside_them(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with opened(folder) as state:
        text = given(state, tmp_path / "upload")
        (folder / CORPORA / f"{text}.txt").write_bytes(b"altered")
        given(state, tmp_path / "again")
        (folder / CORPORA / "my own.txt").write_text("mine")
        assert f"{CORPORA}/ (2 files)" in describe_deletable(state.folder.layout)
        state.reset()
    assert set(files_of(folder)) == {f"{CORPORA}/my own.txt"}


def test_however_far_a_text_came_the_folder_has_it_whole_or_not_at_all(tmp_path: Path) -> None:
    for number in itertools.count(1):
        folder = tmp_path / str(number)
        crashed = False
        with StateFolder(folder) as held:
            manager, place = manager_of(held), held.uploads_folder() / f"upload-{'0' * 16}"
            with fault(number, Crash(), OPERATIONS) as crash:
                try:
                    manager.add_text(*uploaded(place))
                except Crash:
                    crashed = True
        with StateFolder(folder):
            texts = own_texts(folder)
            assert {path.name for path in (folder / CORPORA).glob("*.txt")} == {f"{own.id}.txt" for own in texts}
            assert all(corpora.is_intact(folder / CORPORA / f"{own.id}.txt", own.id) for own in texts)
            assert not [name for name in files_of(folder) if "upload" in name or name.endswith(".tmp")]
        assert crashed == crash.happened
        if not crashed:
            assert len(texts) == 1
            assert number > 5
            return


def test_a_disk_that_fails_refuses_the_text_and_harms_none_that_is_there(tmp_path: Path) -> None:
    with StateFolder(tmp_path / "state") as held:
        manager = manager_of(held)
        manager.add_text(*uploaded(tmp_path / "first", b"There before.\n"))
        before = own_texts(held.path)
        file, own = uploaded(tmp_path / "second")
        for number in itertools.count(1):
            with fault(number, OSError(28, "No space left on device"), OPERATIONS) as full:
                try:
                    manager.add_text(file, own)
                except SaveError as error:
                    assert "No space left" in str(error)
            assert set(before) <= set(own_texts(held.path))
            if not full.happened:
                break
        assert len(own_texts(held.path)) == 2


def test_a_state_from_elsewhere_reaches_no_file_by_its_reference(tmp_path: Path) -> None:
    for path in ("corpora/../secret.txt", "corpora/x.txt", "/etc/passwd", f"corpora/{'0' * 63}.txt", None, 7):
        assert id_of(path) is None
    (state,) = saved_states(3)
    forged = {**state.engine, "corpus": {**state.engine["corpus"], "path": f"{CORPORA}/{'0' * 64}.txt"}}
    write_state(tmp_path / "state", replace(state, engine=forged))
    with opened(tmp_path / "state") as training:
        assert training.load().remarks() == []  # its fingerprint is that of the built-in corpus


# --- where the state directory is exchanged under the run


def exchange(folder: Path) -> None:
    """What stood there is gone, and an empty directory stands in its place."""
    shutil.rmtree(folder)
    folder.mkdir()


def test_a_run_that_goes_on_in_an_exchanged_folder_brings_its_text_and_continues_to_the_bit(tmp_path: Path) -> None:
    with opened(tmp_path / "state") as state:
        own = given(state, tmp_path / "sent")
        train(state, 2)
        exchange(tmp_path / "state")
        state.go_on_as_new_run()
        assert (tmp_path / "state" / reference_of(own)).read_bytes() == TEXT
        (told,) = own_texts(tmp_path / "state")
        assert (told.id, told.name, told.lines) == (own, "mine.txt", 3)
        shutil.copytree(tmp_path / "state", tmp_path / "elsewhere")
        train(state, 7)
        expected = content(state)
    with opened(tmp_path / "elsewhere") as other:
        report = other.load()
        assert not any("has changed" in told for told in report.remarks())
        train(other, 7)
        assert_same(content(other), expected)


def test_a_run_that_was_loaded_and_has_not_read_a_line_yet_brings_its_text_too(tmp_path: Path) -> None:
    with opened(tmp_path / "state") as state:
        own = given(state, tmp_path / "sent")
        train(state, 2)
        state.save("stopped")
    with opened(tmp_path / "state") as state:
        state.load()
        exchange(tmp_path / "state")
        state.go_on_as_new_run()
        assert (tmp_path / "state" / reference_of(own)).read_bytes() == TEXT


def test_training_goes_round_a_text_whose_folder_is_gone(tmp_path: Path) -> None:
    with opened(tmp_path / "state") as state:
        given(state, tmp_path / "sent")
        shutil.rmtree(tmp_path / "state")
        assert [state.step()["text"] for _ in range(4)][-1] == LINES[0]
        (tmp_path / "state").mkdir()
        state.go_on_as_new_run()


def test_a_text_that_already_stands_in_the_exchanged_folder_keeps_its_name(tmp_path: Path) -> None:
    with opened(tmp_path / "state") as state:
        own = given(state, tmp_path / "sent")
        train(state, 1)
        exchange(tmp_path / "state")
        (tmp_path / "state" / CORPORA).mkdir()
        (tmp_path / "state" / reference_of(own)).write_bytes(TEXT)
        (tmp_path / "state" / CORPORA / f"{own}.json").write_bytes(b'{"name": "as it is called here"}')
        state.go_on_as_new_run()
        assert [text.name for text in own_texts(tmp_path / "state")] == ["as it is called here"]


@pytest.mark.parametrize("hindrance", ["a link", "altered"])
def test_a_text_that_cannot_be_brought_is_told_and_the_run_is_saved(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, hindrance: str
) -> None:
    with opened(tmp_path / "state") as state:
        if hindrance == "altered":
            file, own = uploaded(tmp_path / "sent")
            state.saved_states.add_text(file, own)
            (tmp_path / "state" / reference_of(own.id)).write_bytes(TEXT.swapcase())
            state.initialize(corpus=own.id)
        else:
            given(state, tmp_path / "sent")
        train(state, 2)
        exchange(tmp_path / "state")
        outside = tmp_path / "outside"
        outside.mkdir()
        if hindrance == "a link":
            (tmp_path / "state" / CORPORA).symlink_to(outside)
        assert state.go_on_as_new_run().record.iteration_count == 2
        assert list(outside.iterdir()) == []
        assert "own text could not be put into" in caplog.text
        assert not state.saving.is_unsaved


def test_however_far_going_on_in_an_exchanged_folder_came_a_saved_run_has_its_text(tmp_path: Path) -> None:
    for number in itertools.count(1):
        folder = tmp_path / f"state-{number}"
        state = opened(folder)
        own = given(state, tmp_path / "sent")
        train(state, 1)
        exchange(folder)
        state.folder.reacquire()  # a crash before that leaves nothing
        with fault(number, Crash(), OPERATIONS) as failing, suppress(Crash):
            state.go_on_as_new_run()
        state.release()
        text = folder / reference_of(own)
        with opened(folder) as again:
            assert not text.exists() or text.read_bytes() == TEXT
            assert text.exists() or not again.catalog().states
            assert {file.name for file in (folder / CORPORA).glob(".*")} == set()
        if not failing.happened:
            break
    assert number > 15
    assert text.exists()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "cp1251", "koi8-r"])
def test_a_text_in_another_encoding_is_refused_with_a_sentence(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(CorpusError, match="not plain text in UTF-8 but in"):
        uploaded(tmp_path, ("Привет, мир! Это текст.\n" * 10).encode(encoding))


def test_a_text_with_carriage_returns_alone_has_as_many_lines_as_a_run_reads(tmp_path: Path) -> None:
    assert uploaded(tmp_path, b"one\r\rtwo\r" + b"x" * 10_001)[1].lines == 3
    assert uploaded(tmp_path, b"one\r\rtwo\r" + b"x" * 10_001)[1].cut == 1
