"""The text of a PDF that Chromium printed, for tests: its glyphs, through the character maps of their fonts."""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Mapping


def texts_of(document: bytes) -> list[str]:
    """The text of each page, without spaces, in the order in which it was painted."""
    objects = dict(re.findall(rb"(?:^|\n)(\d+) 0 obj\n(.*?)\nendobj", document, re.DOTALL))
    pages = [content for content in objects.values() if b"/Type /Page\n" in content]
    return [_text(page, objects) for page in pages]


def _text(page: bytes, objects: Mapping[bytes, bytes]) -> str:
    fonts = {name: _characters(objects[number], objects) for name, number in re.findall(rb"/F(\d+) (\d+) 0 R", page)}
    painted, characters = [], {}
    for font, glyphs in re.findall(rb"/F(\d+) [\d.]+ Tf|<([0-9A-F]+)> Tj", _stream(page, b"Contents", objects)):
        if font:
            characters = fonts[font]
        painted += [characters.get(int(glyphs[place : place + 4], 16), "") for place in range(0, len(glyphs), 4)]
    return unicodedata.normalize("NFKC", "".join(painted)).replace(" ", "")  # NFKC: ligatures as their letters


def _characters(font: bytes, objects: Mapping[bytes, bytes]) -> dict[int, str]:
    """What each glyph of a font stands for."""
    if b"/ToUnicode" not in font:
        return {}
    found: dict[int, str] = {}
    for line in _stream(font, b"ToUnicode", objects).decode("ascii").splitlines():
        numbers = [int(number, 16) for number in re.findall(r"<([0-9A-F]+)>", line)]
        if len(numbers) == 2:
            found[numbers[0]] = chr(numbers[1])
        elif len(numbers) == 3:
            first, last, start = numbers
            found |= {glyph: chr(start + glyph - first) for glyph in range(first, last + 1)}
    return found


def _stream(owner: bytes, name: bytes, objects: Mapping[bytes, bytes]) -> bytes:
    """The unpacked stream that an object refers to."""
    (number,) = re.findall(rb"/" + name + rb" (\d+) 0 R", owner)
    return zlib.decompressobj().decompress(objects[number].split(b"stream\n", 1)[1])
