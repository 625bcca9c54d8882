"""From a line of text to its words, and from words to a feature vector."""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

_CLASSIC_WORD = re.compile(r"\w+")
_ASCII_WORD = re.compile(r"[0-9A-Za-z_]+")
# Han, Hiragana, Katakana, Thai, Lao, Khmer and Myanmar, which are written without spaces (Unicode blocks).
_UNSPACED = (
    *((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x19E0, 0x19FF), (0x2E80, 0x2FDF), (0x3005, 0x3007)),
    *((0x3021, 0x3029), (0x3038, 0x303B), (0x3041, 0x309F), (0x30A1, 0x30FF), (0x31F0, 0x31FF), (0x3400, 0x4DBF)),
    *((0x4E00, 0x9FFF), (0xA9E0, 0xA9FF), (0xAA60, 0xAA7F), (0xF900, 0xFAFF), (0xFF66, 0xFF9D), (0x1AFF0, 0x1B16F)),
    (0x20000, 0x323AF),
)
_OTHER, _SPACED, _PAIRED = range(3)  # kinds of characters: between words, of words, of words without spaces


def words_by_category(line: str) -> list[str]:
    """Returns the words of a line: longest runs of letters, marks, numbers and connectors, normalized (NFC) and case-folded.

    A run of a script that is written without spaces gives its overlapping pairs of characters, a single one itself.
    """
    text = unicodedata.normalize("NFC", line).casefold()
    if text.isascii():
        return _ASCII_WORD.findall(text)
    runs = ((kind, "".join(run)) for kind, run in groupby(text, _kind))
    return [word for kind, run in runs if kind != _OTHER for word in (_pairs(run) if kind == _PAIRED else (run,))]


def classic_words(line: str) -> list[str]:
    """Returns the words of a line, case-folded, as runs of version 0.1 have them: a mark ends a word."""
    return _CLASSIC_WORD.findall(line.casefold())


TOKENIZERS: dict[str, Callable[[str], list[str]]] = {"unicode": words_by_category, "classic": classic_words}


def features(words: Sequence[str], size: int) -> NDArray[np.float32]:
    """Returns the feature vector of a line's words, shape (size,): word w adds 1 to cell crc32(w) mod size.

    The hashing trick (Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", ICML 2009).
    """
    cells = [zlib.crc32(word.encode("utf-8", "replace")) % size for word in words]
    return np.bincount(np.array(cells, dtype=np.intp), minlength=size).astype(np.float32)


@lru_cache(maxsize=4096)
def _kind(character: str) -> int:
    category = unicodedata.category(character)
    if category[0] not in "LMN" and category != "Pc":
        return _OTHER
    code = ord(character)
    return _PAIRED if any(first <= code <= last for first, last in _UNSPACED) else _SPACED


def _pairs(run: str) -> Iterator[str]:
    return (run[start : start + 2] for start in range(max(1, len(run) - 1)))
