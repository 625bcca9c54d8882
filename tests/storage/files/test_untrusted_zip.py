"""Archives from outside: what stock tools make is read, and what is made to do harm is refused, and says why."""

from __future__ import annotations

import io
import stat
import tracemalloc
import zipfile
from typing import Any

import pytest

from quadra.errors import BadArchiveError, LoadError
from quadra.storage.files.untrusted_zip import MOST_ENTRIES, ArchiveEntry, entries_of, parts_of
from tests.helpers.archives import FLAGS, METHOD, OFFSET, PACKED, SIZE, entry, patched, value_of, zipped

PLAIN = {"folder/a": b"first" * 100, "folder/b": b"second" * 100, "c": b""}


def read(archive: bytes) -> dict[str, bytes]:
    """Every file of an archive."""
    return {found.name: content(found) for found in entries_of(io.BytesIO(archive))}


def content(found: ArchiveEntry) -> bytes:
    return b"".join(found.pieces())


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_every_file_comes_out_as_it_went_in(method: int) -> None:
    assert read(zipped(PLAIN, method)) == PLAIN


def test_folders_comments_and_something_before_the_archive_are_no_harm() -> None:
    buffer = io.BytesIO(b"#!/bin/sh\n")
    buffer.seek(0, io.SEEK_END)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = b"a comment"
        for folder in ("folder/", "./", "folder/deep/"):
            archive.writestr(entry(folder, (stat.S_IFDIR | 0o755) << 16 | 0x10), b"")
        for name, held in PLAIN.items():
            archive.writestr(name, held)
    assert read(buffer.getvalue()) == PLAIN


def test_an_archive_that_was_written_as_a_stream_is_read() -> None:
    class Pipe(io.RawIOBase):
        written = b""

        def writable(self) -> bool:
            return True

        def write(self, piece: Any) -> int:
            self.written += bytes(piece)
            return len(piece)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:  # type: ignore[arg-type]  # writes are all it needs
        for name, held in PLAIN.items():
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(held)
    assert read(pipe.written) == PLAIN


def test_the_error_is_one_of_ours_with_a_stable_code() -> None:
    assert issubclass(BadArchiveError, LoadError)
    assert BadArchiveError.code == "bad_archive"


@pytest.mark.parametrize(
    "upload",
    [b"", b"PK", b"PK\x05\x06", b"text" * 1000, b"\x1f\x8b\x08" + bytes(100), bytes(70_000), b"PK\x03\x04" * 30],
)
def test_what_is_no_archive_is_refused(upload: bytes) -> None:
    with pytest.raises(BadArchiveError, match="not a zip archive"):
        read(upload)


def test_an_archive_without_an_entry_has_none() -> None:
    assert read(zipped({})) == {}


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd", "//server/share", "..", "../a", "a/../../b", "a/..", "a\\b", "..\\a", "C:a", "C:/a", "c:\\a", "a\0b",
        "\\\\server\\share", ".", "a/../", "/", "deep/" * 101,
    ],
)  # fmt: skip
def test_a_name_that_leads_out_of_its_folder_is_refused(name: str) -> None:
    with pytest.raises(BadArchiveError, match="is not one within a folder"):
        parts_of(name)
    held = name.replace("\0", "\1")  # zipfile would write no zero
    archive = zipped({"good": b"", held: b""}).replace(held.encode(), name.encode())
    with pytest.raises(BadArchiveError, match="is not one within a folder"):
        read(archive)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a", ("a",)), ("./a", ("a",)), ("a//b", ("a", "b")), ("a/./b/", ("a", "b")), ("...", ("...",)),
        ("..a/b..", ("..a", "b..")),
    ],
)  # fmt: skip
def test_a_name_within_its_folder_is_its_parts(name: str, parts: tuple[str, ...]) -> None:
    assert parts_of(name) == parts


UNIX = {
    "a link": stat.S_IFLNK, "a device": stat.S_IFCHR, "a disk": stat.S_IFBLK, "a pipe": stat.S_IFIFO,
    "a socket": stat.S_IFSOCK, "a folder that is named as a file": stat.S_IFDIR,
}  # fmt: skip


@pytest.mark.parametrize("kind", UNIX.values(), ids=UNIX)
@pytest.mark.parametrize("system", [0, 3, 19], ids=["Windows", "Unix", "macOS"])
def test_what_is_no_plain_file_is_refused(kind: int, system: int) -> None:
    with pytest.raises(BadArchiveError, match="not a plain file"):
        read(zipped([("good", b""), (entry("bad", (kind | 0o777) << 16, system), b"/etc/passwd")]))


@pytest.mark.parametrize("attributes", [0x400, 0x420, 0x40])
def test_a_link_or_device_of_windows_is_refused(attributes: int) -> None:
    with pytest.raises(BadArchiveError, match="not a plain file"):
        read(zipped([(entry("bad", attributes, 0), b"")]))


@pytest.mark.parametrize(
    "attributes", [0, 0x20, 0x21, (stat.S_IFREG | 0o644) << 16, 0o600 << 16, 0x81A40020, 0x81A48020]
)
def test_what_stock_tools_say_of_plain_files_is_taken(attributes: int) -> None:
    assert read(zipped([(entry("good", attributes), b"content")])) == {"good": b"content"}


@pytest.mark.parametrize("flag", [0x1, 0x41, 0x2001])
def test_an_encrypted_entry_is_refused(flag: int) -> None:
    with pytest.raises(BadArchiveError, match=r"encrypted.*without a password"):
        read(patched(zipped(PLAIN), "folder/b", *FLAGS, flag))


@pytest.mark.parametrize("names", [("a", "a"), ("f/a", "f//a"), ("f/a", "./f/a"), ("f/a", "f/a/")])
def test_a_name_that_is_there_twice_is_refused(names: tuple[str, str]) -> None:
    with pytest.raises(BadArchiveError, match="twice"):
        read(zipped([(name, b"") for name in names]))


def test_entries_that_are_the_same_bytes_are_refused() -> None:
    archive = zipped(PLAIN)
    with pytest.raises(BadArchiveError, match="overlap"):
        read(patched(archive, "folder/b", *OFFSET, 0))
    with pytest.raises(BadArchiveError, match="overlap"):
        read(patched(archive, "folder/b", *OFFSET, value_of(archive, "folder/b", *OFFSET) - 1))
    longer = value_of(archive, "folder/a", *PACKED) + 1
    with pytest.raises(BadArchiveError, match="overlap"):
        read(patched(archive, "folder/a", *PACKED, longer))


def test_an_entry_that_reaches_into_the_directory_is_refused() -> None:
    with pytest.raises(BadArchiveError, match="overlap"):
        read(patched(zipped(PLAIN), "c", *PACKED, 60))


def test_no_more_entries_are_taken_than_are_allowed() -> None:
    names = {f"{number:05}": b"" for number in range(MOST_ENTRIES)}
    assert len(entries_of(io.BytesIO(zipped(names)))) == MOST_ENTRIES == 10_000
    with pytest.raises(BadArchiveError, match=r"10,001 entries; 10,000"):
        read(zipped({**names, "one more": b""}))


def test_a_directory_too_large_for_any_state_is_not_even_read() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(100):
            made = zipfile.ZipInfo(str(number))
            made.comment = bytes(60_000)
            archive.writestr(made, b"")
    tracemalloc.start()
    try:
        with pytest.raises(BadArchiveError, match="directory is larger"):
            entries_of(buffer)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


def test_a_bomb_is_given_up_long_before_its_end_and_takes_no_memory() -> None:
    archive = zipped({"bomb": bytes(100 << 20)}, zipfile.ZIP_DEFLATED)
    (bomb,) = entries_of(io.BytesIO(archive))
    taken = 0
    tracemalloc.start()
    try:
        with pytest.raises(BadArchiveError, match="unpacks to far more"):
            for piece in bomb.pieces():
                taken += len(piece)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert taken < 30 << 20
    assert peak < 3 << 20


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("size", [0, 1, 499, 501, 2**32 - 2])
def test_a_size_that_is_not_true_is_found(method: int, size: int) -> None:
    with pytest.raises(BadArchiveError, match="cannot be read"):
        read(patched(zipped(PLAIN, method), "folder/a", *SIZE, size))


def test_a_method_that_would_claim_memory_is_refused_where_the_file_is_read() -> None:
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with pytest.raises(BadArchiveError, match="packed in a way"):
            read(zipped(PLAIN, method))
    for method in (1, 9, 99):
        with pytest.raises(BadArchiveError, match="packed in a way"):
            read(patched(zipped(PLAIN), "folder/a", *METHOD, method))


def test_a_disk_that_cannot_be_read_is_not_told_as_a_bad_archive() -> None:
    class Failing(io.BytesIO):
        fails = False

        def read(self, size: int | None = -1, /) -> bytes:
            if self.fails:
                raise OSError(5, "Input/output error")
            return super().read(size)

    stream = Failing(zipped(PLAIN))
    found = entries_of(stream)
    stream.fails = True
    with pytest.raises(OSError, match="Input/output"):
        content(found[0])
