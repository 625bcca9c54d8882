"""From a line to its words, and from words to cells: the classic tokenizer, the one by Unicode categories, the hash."""

from __future__ import annotations

import unicodedata
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from quadra.model.words import TOKENIZERS, classic_words, features, words_by_category
from tests.helpers.model_helpers import small_engine

BOTH = pytest.mark.parametrize("tokenizer", TOKENIZERS)


def vector_of(line: str, size: int, tokenizer: str = "classic") -> NDArray[np.float32]:
    return features(TOKENIZERS[tokenizer](line), size)


def test_a_word_adds_one_to_the_cell_of_its_checksum() -> None:
    vector = vector_of("hello", 100)
    assert vector.shape == (100,)
    assert vector.dtype == np.float32
    assert np.flatnonzero(vector).tolist() == [907060870 % 100]  # crc32 of b"hello" is 0x3610a686
    assert vector[70] == 1.0


@pytest.mark.parametrize("size", [2, 7, 100, 1_000_000])
def test_the_cell_is_the_checksum_of_the_utf8_word_modulo_the_field_size(size: int) -> None:
    assert np.flatnonzero(vector_of("größe", size)).tolist() == [zlib.crc32("grösse".encode()) % size]


def test_a_repeated_word_counts_each_time() -> None:
    assert vector_of("hello world hello, hello", 100)[70] == 3.0


def test_words_that_share_a_cell_add_up() -> None:
    words = [word for word in map(str, range(100)) if zlib.crc32(word.encode()) % 10 == 3][:2]
    assert vector_of(" ".join(words), 10)[3] == 2.0


@pytest.mark.parametrize(("one", "other"), [("HeLLo", "hello"), ("STRASSE", "straße"), ("ΣΑΣ", "σας")])
def test_case_makes_no_difference(one: str, other: str) -> None:
    assert np.array_equal(vector_of(one, 1000), vector_of(other, 1000))


def test_words_are_runs_of_word_characters() -> None:
    assert np.array_equal(
        vector_of("well-known: isn't (snake_case)!", 997), vector_of("well known isn t snake_case", 997)
    )
    assert vector_of("well-known: isn't (snake_case)!", 997).sum() == 5.0


def test_a_line_without_a_word_gives_the_zero_vector() -> None:
    assert vector_of("... -- !?", 10).tolist() == [0.0] * 10


def test_features_take_a_character_that_utf8_cannot_hold() -> None:
    assert vector_of("a\ud800b lone", 50).sum() >= 1.0


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("Don't stop_here, 3 times!", ["don", "t", "stop_here", "3", "times"]),
        ("cafe\u0301 = café", ["café", "café"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("Straße ΣΑΣ", ["strasse", "σασ"]),  # noqa: RUF001  # Greek, not Latin
        ("我愛你。好", ["我愛", "愛你", "好"]),
        ("ひらがなとカタカナ", ["ひら", "らが", "がな", "なと", "とカ", "カタ", "タカ", "カナ"]),
        ("ภาษาไทย", ["ภา", "าษ", "ษา", "าไ", "ไท", "ทย"]),
        ("PyTorch入門2026", ["pytorch", "入門", "2026"]),
        ("北", ["北"]),
        ("… — !?", []),
    ],
)
def test_words_are_runs_of_one_category_and_pairs_where_no_spaces_are_written(line: str, words: list[str]) -> None:
    assert words_by_category(line) == words


@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_gives_the_same_words_by_both_tokenizers(line: str) -> None:
    assert words_by_category(line) == classic_words(line)


@given(st.text())
def test_every_character_of_a_word_is_in_a_word_and_nothing_else_is(line: str) -> None:
    folded = unicodedata.normalize("NFC", line).casefold()
    used = {character for word in words_by_category(line) for character in word}
    kinds = {character: unicodedata.category(character) for character in folded}
    assert used == {character for character, kind in kinds.items() if kind[0] in "LMN" or kind == "Pc"}


@pytest.mark.parametrize("settings", [{"word_dropout": 0.5}, {"noise": 0.1}, {"word_dropout": 0.5, "noise": 0.1}])
def test_dropped_words_and_noise_are_drawn_from_a_generator_that_is_state(settings: dict[str, float]) -> None:
    one, other = small_engine(**settings), small_engine(**settings)
    first = [one.step() for _ in range(5)]
    other.load_state_dict(one.state_dict())
    assert [one.step() for _ in range(5)] == [other.step() for _ in range(5)]
    assert first == [each.step() for each in [small_engine(**settings)] for _ in range(5)]


def test_where_nothing_is_dropped_or_added_no_generator_is_in_the_state() -> None:
    assert set(small_engine().state_dict()["generators"]) == {"samples", "samples_device", "exploration"}


def test_all_words_can_be_dropped() -> None:
    engine = small_engine(word_dropout=1.0)
    assert [engine.step().integrity_strikes for _ in range(3)] == [0, 0, 0]
