"""The training text: features of a line, and the lines of a file or folder, one after the other."""

from __future__ import annotations

import sysconfig
import tracemalloc
from pathlib import Path, PosixPath
from statistics import median

import pytest

from quadra.errors import CorpusError
from quadra.model import corpus as corpus_module
from quadra.model.corpus import LONGEST_LINE, Corpus
from tests.helpers.model_helpers import small_engine, steps, text_file


def lines_of(path: Path, count: int) -> list[str]:
    corpus = Corpus(path)
    return [corpus.next_line() for _ in range(count)]


def test_lines_come_in_order_and_wrap_round(tmp_path: Path) -> None:
    path = text_file(tmp_path, "one\ntwo\nthree\n")
    assert lines_of(path, 7) == ["one", "two", "three", "one", "two", "three", "one"]


def test_a_last_line_without_an_end_is_a_line(tmp_path: Path) -> None:
    assert lines_of(text_file(tmp_path, "one\ntwo"), 3) == ["one", "two", "one"]


def test_blank_lines_are_skipped(tmp_path: Path) -> None:
    assert lines_of(text_file(tmp_path, "\n\none\n \t \n\r\ntwo\n\n"), 3) == ["one", "two", "one"]


def test_a_long_line_is_cut_and_its_rest_is_not_the_next_line(tmp_path: Path) -> None:
    path = text_file(tmp_path, "a" * LONGEST_LINE + "b" * 5 * LONGEST_LINE + "\nnext\n")
    assert LONGEST_LINE == 10_000
    assert lines_of(path, 3) == ["a" * 10_000, "next", "a" * 10_000]


def test_a_line_of_just_the_longest_length_is_whole(tmp_path: Path) -> None:
    assert lines_of(text_file(tmp_path, "a" * 9_999 + "b\nnext"), 2) == ["a" * 9_999 + "b", "next"]


@pytest.mark.parametrize("character", ["é", "€", "🙂"])
def test_a_long_line_is_cut_by_characters_not_bytes(tmp_path: Path, character: str) -> None:
    path = text_file(tmp_path, character * 10_001 + "\nnext\n")
    assert lines_of(path, 2) == [character * 10_000, "next"]


def test_a_huge_last_line_ends_with_the_file(tmp_path: Path) -> None:
    path = text_file(tmp_path, b"first\n" + b"x" * (3 << 20))
    assert lines_of(path, 3) == ["first", "x" * 10_000, "first"]


def test_bytes_that_are_not_utf8_are_replaced(tmp_path: Path) -> None:
    assert lines_of(text_file(tmp_path, b"caf\xe9 au lait\nnext\n"), 2) == ["caf\ufffd au lait", "next"]


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path) -> None:
    assert lines_of(text_file(tmp_path, b"\xef\xbb\xbfone\ntwo\n"), 3) == ["one", "two", "one"]


def test_carriage_returns_are_no_part_of_a_line(tmp_path: Path) -> None:
    assert lines_of(text_file(tmp_path, "one\r\ntwo\r\n"), 3) == ["one", "two", "one"]


@pytest.mark.parametrize("content", ["", "\n\n", "  \r\n\t\n", "\ufeff\n"])
def test_a_file_without_a_line_is_an_error(tmp_path: Path, content: str) -> None:
    with pytest.raises(CorpusError, match=r"text\.txt"):
        Corpus(text_file(tmp_path, content))


def test_a_missing_path_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="nowhere"):
        Corpus(tmp_path / "nowhere")


def test_a_folder_without_a_file_is_an_error(tmp_path: Path) -> None:
    text_file(tmp_path, "hidden", ".hidden.txt")
    with pytest.raises(CorpusError):
        Corpus(tmp_path)


def test_a_text_that_disappears_is_an_error(tmp_path: Path) -> None:
    path = text_file(tmp_path, "one\n")
    corpus = Corpus(path)
    path.unlink()
    with pytest.raises(CorpusError):
        corpus.next_line()


def test_a_text_that_becomes_empty_is_an_error_and_not_an_endless_loop(tmp_path: Path) -> None:
    path = text_file(tmp_path, "one\n")
    corpus = Corpus(path)
    path.write_bytes(b"")
    with pytest.raises(CorpusError):
        corpus.next_line()


def test_a_folder_is_read_in_sorted_order_without_hidden_files(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "deep/er/c.md", ".hidden.txt", ".git/config"):
        text_file(tmp_path, f"from {name}\n", name)
    expected = ["from a.txt", "from b.txt", "from deep/er/c.md", "from a.txt"]
    assert lines_of(tmp_path, 4) == expected


def test_the_order_of_a_folder_is_that_of_its_names_and_the_same_on_every_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["B.txt", "Z/a.txt", "a.txt", "b/c.txt", "b.txt"]
    for name in reversed(names):
        text_file(tmp_path, f"from {name}\n", name)
    by_names = [f"from {name}" for name in names]
    assert lines_of(tmp_path, 5) == by_names
    monkeypatch.setattr(
        PosixPath, "__lt__", lambda one, other: str(one).lower() < str(other).lower()
    )  # as Windows has it
    assert min(tmp_path.iterdir()).name == "a.txt"
    assert lines_of(tmp_path, 5) == by_names


@pytest.mark.parametrize(
    "position", [{"file": 2}, {"file": -1}, {"offset": -1}, {"offset": 9}, {"offset": 2**70}], ids=str
)
def test_a_position_outside_the_text_leads_to_its_beginning(tmp_path: Path, position: dict[str, int]) -> None:
    for name in ("a", "b"):
        text_file(tmp_path, "one\ntwo\n", name)
    corpus = Corpus(tmp_path)
    corpus.load_state_dict({**corpus.state_dict(), "file": 1, "offset": 8})
    outside = {**corpus.state_dict(), **position}
    assert not corpus.has_position(outside)
    corpus.load_state_dict(outside)
    assert corpus.state_dict()["file"] == corpus.state_dict()["offset"] == 0
    assert corpus.next_line() == "one"


@pytest.mark.parametrize("path", ["/" + "x" * 5000, "/zero\0", "/lone \ud800", "/" + "deep/" * 2000])
def test_a_path_that_no_system_takes_is_an_error_like_any_that_is_not_there(path: str) -> None:
    with pytest.raises(CorpusError):
        Corpus(path)


def test_an_empty_file_of_a_folder_is_passed_over(tmp_path: Path) -> None:
    text_file(tmp_path, "one\n", "a")
    text_file(tmp_path, "", "b")
    text_file(tmp_path, "two\n", "c")
    assert lines_of(tmp_path, 3) == ["one", "two", "one"]


def test_a_hidden_parent_does_not_hide_a_folder(tmp_path: Path) -> None:
    text_file(tmp_path, "one\n", ".cache/texts/a.txt")
    assert lines_of(tmp_path / ".cache" / "texts", 1) == ["one"]


@pytest.mark.parametrize("used", range(8))
def test_the_place_in_the_text_is_saved_and_restored(tmp_path: Path, used: int) -> None:
    for name in ("a", "b", "c"):
        text_file(tmp_path, f"\ufeff{name} one\r\n\n{name} two", name)
    corpus = Corpus(tmp_path)
    for _ in range(used):
        corpus.next_line()
    saved = corpus.state_dict()
    expected = [corpus.next_line() for _ in range(10)]
    corpus.load_state_dict(saved)
    assert corpus.state_dict() == saved
    assert [corpus.next_line() for _ in range(10)] == expected
    fresh = Corpus(tmp_path)
    fresh.load_state_dict(saved)
    assert [fresh.next_line() for _ in range(10)] == expected


def test_a_saved_place_does_not_change_as_reading_goes_on(tmp_path: Path) -> None:
    corpus = Corpus(text_file(tmp_path, "one\ntwo\nthree\n"))
    saved = corpus.state_dict()
    kept = dict(saved)
    corpus.next_line()
    assert saved == kept
    assert corpus.state_dict() != kept


def test_closing_keeps_the_place(tmp_path: Path) -> None:
    corpus = Corpus(text_file(tmp_path, "one\ntwo\nthree\n"))
    corpus.next_line()
    corpus.close()
    assert corpus.next_line() == "two"


def test_the_place_in_another_text_is_its_beginning(tmp_path: Path) -> None:
    for name in ("first", "other"):
        for file in ("a", "b"):
            text_file(tmp_path / name, f"{name} {file} one\n{name} {file} two\n", file)
    first, other = Corpus(tmp_path / "first"), Corpus(tmp_path / "other")
    for corpus in (first, first, first, other):
        corpus.next_line()
    other.load_state_dict(first.state_dict())
    assert first.fingerprint != other.fingerprint
    assert [other.next_line() for _ in range(2)] == ["other a one", "other a two"]


def test_the_fingerprint_is_of_the_content_not_of_the_path(tmp_path: Path) -> None:
    one, same, other = (text_file(tmp_path, text, name) for text, name in [("x\n", "a"), ("x\n", "b"), ("y\n", "c")])
    assert Corpus(one).fingerprint == Corpus(same).fingerprint != Corpus(other).fingerprint


def test_the_same_bytes_in_other_files_are_another_text(tmp_path: Path) -> None:
    for folder, parts in (("one", ("ab\n", "c\n")), ("two", ("a", "b\nc\n"))):
        for number, part in enumerate(parts):
            text_file(tmp_path / folder, part, str(number))
    assert Corpus(tmp_path / "one").fingerprint != Corpus(tmp_path / "two").fingerprint


def test_a_big_text_is_not_read_whole(tmp_path: Path) -> None:
    size = 50 << 20
    path = text_file(tmp_path, b"a line of a big text\n" * (size // 42) + b"x" * (size // 2) + b"\nlast\n")
    tracemalloc.start()
    try:
        corpus = Corpus(path)
        for _ in range(1000):
            corpus.next_line()
        corpus.load_state_dict({**corpus.state_dict(), "offset": size // 42 * 21})  # just before the endless line
        tail = [corpus.next_line() for _ in range(2)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert tail == ["x" * 10_000, "last"]
    assert path.stat().st_size > 45 << 20
    assert peak < 8 << 20


def test_the_built_in_text_has_at_least_200_distinct_lines() -> None:
    corpus = Corpus()
    assert len({corpus.next_line() for _ in range(1000)}) >= 200
    assert corpus.state_dict()["path"] is None


def foreign_text() -> Path:
    """A text that nobody of this project wrote: the licences of the system, of Python, or of an installed package."""
    packages = sorted(Path(sysconfig.get_path("purelib")).glob("*.dist-info/**/LICENSE*"))
    python = Path(sysconfig.get_path("stdlib")) / "LICENSE.txt"
    for path in (Path("/usr/share/common-licenses"), python, *packages):
        if path.exists():
            return path
    pytest.skip("no licence text of the system, of Python or of a package is installed here")


def test_a_text_that_nobody_here_wrote_can_be_learned() -> None:
    path = foreign_text()
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    written = "\n".join(file.read_text("utf-8", "replace") for file in files)
    results = steps(small_engine(corpus=path, field_size=100), 150)
    assert all(result["text"] in written for result in results)
    assert len({result["text"] for result in results}) > 5
    assert median(result["loss"] for result in results[-50:]) < 0.5 * results[0]["loss"]


def test_a_very_large_text_is_known_by_its_size_and_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_module, "_FULLY_HASHED", 1 << 20)
    content = bytearray(b"a line of text\n" * 1_000_000)
    path = text_file(tmp_path, bytes(content))
    known = Corpus(path).fingerprint
    step = len(content) // 64
    for at, is_noticed in ((0, True), (40 * step + 100, True), (40 * step + (1 << 16) + 100, False)):
        changed = bytes(content[:at]) + b"CHANGED" + bytes(content[at + 7 :])
        path.write_bytes(changed)
        assert (Corpus(path).fingerprint != known) is is_noticed
    path.write_bytes(content + b"more")
    assert Corpus(path).fingerprint != known
