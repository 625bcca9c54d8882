"""Lines of text files: what ends them, what it costs to read them, and which files are no text in UTF-8."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quadra.errors import CorpusError
from quadra.model.corpus import LONGEST_LINE, Corpus
from quadra.model.text_lines import encoding_fault, line_end_of, lines_of
from tests.helpers.model_helpers import text_file

RUSSIAN = "Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива по-своему.\n" * 20  # noqa: RUF001  # signs of that language
JAPANESE = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。\n" * 20
CHINESE = "道可道，非常道。名可名，非常名。无名天地之始；有名万物之母。\n" * 20  # noqa: RUF001  # signs of that language
FRENCH = "Longtemps, je me suis couché de bonne heure. Parfois, à peine ma bougie éteinte, mes yeux se fermaient.\n"


def texts(corpus: Corpus, count: int) -> list[str]:
    return [corpus.next_line() for _ in range(count)]


def test_a_file_with_carriage_returns_alone_has_lines(tmp_path: Path) -> None:
    assert texts(Corpus(text_file(tmp_path, "one\rtwo\r\r  \rthree")), 4) == ["one", "two", "three", "one"]


def test_where_there_is_one_line_feed_a_carriage_return_ends_nothing(tmp_path: Path) -> None:
    corpus = Corpus(text_file(tmp_path, "10%\r20%\r100%\ndone\r"))
    assert texts(corpus, 3) == ["10%\r20%\r100%", "done", "10%\r20%\r100%"]
    assert "any_line_end" not in corpus.state_dict()


def test_each_file_of_a_folder_has_its_own_line_ends(tmp_path: Path) -> None:
    text_file(tmp_path, "one\rtwo\r", "a")
    text_file(tmp_path, "three\nfour\n", "b")
    assert texts(Corpus(tmp_path), 5) == ["one", "two", "three", "four", "one"]


def test_a_long_line_that_a_carriage_return_ends_is_cut_and_its_rest_is_not_the_next_line(tmp_path: Path) -> None:
    path = text_file(tmp_path, "é" * 6 * LONGEST_LINE + "\rnext\r")
    assert texts(Corpus(path), 3) == ["é" * LONGEST_LINE, "next", "é" * LONGEST_LINE]


def test_a_place_among_lines_with_carriage_returns_is_found_again(tmp_path: Path) -> None:
    path = text_file(tmp_path, "one\rtwo\rthree")
    first, second = Corpus(path), Corpus(path)
    first.next_line()
    second.load_state_dict(first.state_dict())
    assert texts(second, 3) == texts(first, 3) == ["two", "three", "one"]


def test_a_run_that_was_begun_when_carriage_returns_ended_no_line_goes_on_so(tmp_path: Path) -> None:
    corpus = Corpus(text_file(tmp_path, "one\rtwo\rthree"))
    saved = corpus.state_dict()
    assert saved.pop("any_line_end")
    for _ in range(2):
        corpus.load_state_dict(saved)
        assert texts(corpus, 2) == ["one\rtwo\rthree"] * 2
        saved = corpus.state_dict()
    corpus.load_state_dict({**saved, "fingerprint": "of another text"})
    assert corpus.next_line() == "one"


def decoded(lines: Iterable[bytes]) -> list[str]:
    """The lines as a run reads them, without blank ones."""
    found = [
        line[: 4 * LONGEST_LINE + 3].decode("utf-8", "replace").removeprefix("\ufeff")[:LONGEST_LINE].strip()
        for line in lines
    ]
    return [line for line in found if line]


PIECES = st.sampled_from(
    [
        *(b"a", b"word ", b"\n", b"\r", b"\r\n", b"\n\n", b"\xff", b"\xef\xbb\xbf", "é".encode(), b"\0"),
        b"x" * 45_000,
    ]
)


@given(st.lists(PIECES, max_size=25).map(b"".join))
def test_a_text_with_a_line_feed_has_the_lines_that_it_always_had(content: bytes) -> None:
    content += b"\nlast"
    expected = decoded(content.split(b"\n"))
    assert texts(Corpus("text.txt", content=content), 2 * len(expected)) == expected * 2


@given(st.lists(PIECES, max_size=15).map(b"".join))
def test_lines_are_counted_as_they_are_read(content: bytes) -> None:
    found = decoded(lines_of(io.BytesIO(content)))
    try:
        corpus = Corpus("text.txt", content=content)
    except CorpusError:
        assert found == []
        return
    assert texts(corpus, len(found)) == found


class Counting(io.BytesIO):
    """A file that counts what is read of it."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.count = 0

    def read(self, size: int | None = -1) -> bytes:
        piece = super().read(size)
        self.count += len(piece)
        return piece


@pytest.mark.parametrize("end", [b"", b"\n", b"\r"])
def test_an_endless_line_is_read_once_and_not_for_every_line_that_is_asked_for(
    tmp_path: Path, end: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b"word " * 800_000 + end + b"x" * bool(end)
    corpus = Corpus(text_file(tmp_path, content))
    streams: list[Counting] = []
    monkeypatch.setattr(corpus, "_opened", lambda file: streams.append(Counting(content)) or streams[-1])
    expected = texts(Corpus("text.txt", content=content), 6)
    assert texts(corpus, 6) == expected
    assert sum(stream.count for stream in streams) < 2.5 * len(content)


def test_where_a_long_line_ends_is_looked_for_again_once_the_file_has_changed(tmp_path: Path) -> None:
    path = text_file(tmp_path, b"a" * (2 << 20) + b"\nsecond\n")
    corpus = Corpus(path)
    assert texts(corpus, 3)[1] == "second"
    path.write_bytes(b"b" * (3 << 20) + b"\nother\n")
    corpus.close()
    corpus.load_state_dict({**corpus.state_dict(), "fingerprint": ""})
    assert [line[:6] for line in texts(corpus, 3)] == ["bbbbbb", "other", "bbbbbb"]


OTHER_ENCODINGS: dict[str, bytes] = {
    "UTF-16 with a mark": FRENCH.encode("utf-16"),
    "UTF-16, big end first, with a mark": b"\xfe\xff" + FRENCH.encode("utf-16-be"),
    "UTF-16 without a mark": FRENCH.encode("utf-16-le"),
    "UTF-16 of Chinese with a mark": CHINESE.encode("utf-16"),
    "UTF-16 of Chinese without one": CHINESE.encode("utf-16-le"),
    "UTF-32": FRENCH.encode("utf-32"),
    "Windows-1251": RUSSIAN.encode("cp1251"),
    "KOI8": RUSSIAN.encode("koi8-r"),
    "Shift-JIS": JAPANESE.encode("shift-jis"),
    "EUC": JAPANESE.encode("euc-jp"),
    "GB 18030": CHINESE.encode("gb18030"),
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4,
}
IN_UTF8: dict[str, bytes] = {
    "French": FRENCH.encode(),
    "French with a mark": FRENCH.encode("utf-8-sig"),
    "Russian": RUSSIAN.encode(),
    "Japanese": JAPANESE.encode(),
    "signs that stand for what cannot be read": "\ufffd\ufffd\n".encode(),
    "French in Latin-1, most of which can be read": FRENCH.encode("latin-1"),
    "a character across the end of what is looked at": b"x" * ((1 << 20) - 1) + "é\n".encode(),
}


@pytest.mark.parametrize("name", OTHER_ENCODINGS)
def test_a_text_in_another_encoding_is_refused_for_new_runs_with_a_sentence(tmp_path: Path, name: str) -> None:
    path = text_file(tmp_path, OTHER_ENCODINGS[name])
    with pytest.raises(CorpusError, match="UTF-8") as refused:
        Corpus(path).require_utf8()
    assert str(path) in str(refused.value)
    assert ("UTF-16" in str(refused.value)) or "UTF-16" not in name


@pytest.mark.parametrize("name", IN_UTF8)
def test_a_text_most_of_which_can_be_read_is_taken(tmp_path: Path, name: str) -> None:
    Corpus(text_file(tmp_path, IN_UTF8[name])).require_utf8()
    assert encoding_fault(io.BytesIO(IN_UTF8[name])) is None


def test_of_a_folder_the_file_is_named(tmp_path: Path) -> None:
    text_file(tmp_path, FRENCH, "a.txt")
    bad = text_file(tmp_path, OTHER_ENCODINGS["UTF-32"], "b.txt")
    with pytest.raises(CorpusError, match="UTF-32") as refused:
        Corpus(tmp_path).require_utf8()
    assert str(bad) in str(refused.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_told_that_it_is_no_regular_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path(os.devnull)):
        with pytest.raises(CorpusError, match="not a regular file"):
            Corpus(path)


@pytest.mark.parametrize("content", [b"", b"\r", b"\n", b"a\rb", b"a\nb", b"\r" * 9000 + b"\n"])
def test_the_end_of_lines_is_a_return_only_where_there_is_no_line_feed(content: bytes) -> None:
    expected = b"\r" if b"\r" in content and b"\n" not in content else b"\n"
    assert line_end_of(io.BytesIO(content)) == expected
