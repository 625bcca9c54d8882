"""Archives as people make them, and as somebody makes them who means harm."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from collections.abc import Iterable, Mapping

Entries = Mapping[str, bytes] | Iterable[tuple[str | zipfile.ZipInfo, bytes]]


def zipped(entries: Entries, method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip archive with these entries in this order."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of names that are there twice
        with zipfile.ZipFile(buffer, "w", method) as archive:
            for name, content in entries.items() if isinstance(entries, Mapping) else entries:
                archive.writestr(name, content)
    return buffer.getvalue()


def entry(name: str, attributes: int, system: int = 3) -> zipfile.ZipInfo:
    """An entry with these external attributes."""
    made = zipfile.ZipInfo(name)
    made.external_attr, made.create_system = attributes, system
    return made


def patched(archive: bytes, name: str, place: int, form: str, *values: int) -> bytes:
    """An archive in whose directory the entry of this name has other values at a place of its header."""
    at = _directory_entry(archive, name)
    content = bytearray(archive)
    struct.pack_into(form, content, at + place, *values)
    return bytes(content)


def value_of(archive: bytes, name: str, place: int, form: str) -> int:
    """A value of an entry's header in the directory."""
    (value,) = struct.unpack_from(form, archive, _directory_entry(archive, name) + place)
    return int(value)


def _directory_entry(archive: bytes, name: str) -> int:
    at = archive.rindex(name.encode(), 0, archive.rindex(b"PK\x05\x06")) - 46
    assert archive[at : at + 4] == b"PK\x01\x02"
    return at


FLAGS, METHOD, PACKED, SIZE, OFFSET = (8, "<H"), (10, "<H"), (20, "<I"), (24, "<I"), (42, "<I")  # places in that header
