"""The archive of the weights file: laid out by hand, and a zip file to every tool that knows one."""

from __future__ import annotations

import io
import pickle
import struct
import sys
import zipfile
import zlib
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from quadra.storage.files.durable import Piece
from quadra.storage.files.zip_writer import archive_pieces

LOCAL_HEADER = struct.Struct("<IHHHHHIIIHH")


def archive(*entries: tuple[str, Piece]) -> bytes:
    return b"".join(archive_pieces(entries))


def contents(content: bytes) -> list[tuple[str, bytes]]:
    """What stock zip tools find, in order, after their own test of it."""
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        assert opened.testzip() is None
        return [(info.filename, opened.read(info)) for info in opened.infolist()]


def starts(content: bytes) -> list[int]:
    """Where the content of each member begins."""
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        places = [info.header_offset for info in opened.infolist()]
    heads = [LOCAL_HEADER.unpack_from(content, place) for place in places]
    return [place + LOCAL_HEADER.size + head[-2] + head[-1] for place, head in zip(places, heads, strict=True)]


names = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="/\\"), min_size=1, max_size=80)
entries = st.dictionaries(names, st.binary(max_size=300), max_size=8)


@given(entries)
def test_any_entries_are_found_by_stock_zip_tools_each_whole_and_in_order(files: dict[str, bytes]) -> None:
    assert contents(archive(*files.items())) == list(files.items())


@given(entries)
def test_the_content_of_every_entry_is_aligned_to_64_bytes(files: dict[str, bytes]) -> None:
    content = archive(*files.items())
    for start, expected in zip(starts(content), files.values(), strict=True):
        assert start % 64 == 0
        assert content[start : start + len(expected)] == expected


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 1 << 16, 5_000_000])
def test_empty_and_large_entries_are_whole(size: int) -> None:
    large = bytes(range(256)) * (size // 256) + bytes(size % 256)
    found = contents(archive(("archive/data/0", large), ("archive/version", b"3\n")))
    assert found == [("archive/data/0", large), ("archive/version", b"3\n")]


def test_an_archive_without_entries_is_one_all_the_same() -> None:
    assert contents(archive()) == []


def test_more_entries_than_16_bits_can_count_would_be_told_by_the_64_bit_end() -> None:
    content = archive(("a", b"1"), ("b", b"2"))
    place = content.index(b"PK\x06\x06")
    assert struct.unpack_from("<QQ", content, place + 24) == (2, 2)
    assert struct.unpack_from("<Q", content, content.index(b"PK\x06\x07") + 8) == (place,)


def test_entries_are_stored_as_they_are_with_their_checksum() -> None:
    with zipfile.ZipFile(io.BytesIO(archive(("a", b"content" * 100)))) as opened:
        (info,) = opened.infolist()
    assert (info.compress_type, info.file_size, info.compress_size) == (zipfile.ZIP_STORED, 700, 700)
    assert zlib.crc32(b"content" * 100) == info.CRC


def test_an_archive_is_a_function_of_its_content_alone() -> None:
    assert archive(("a", b"content")) == archive(("a", bytearray(b"content"))) == archive(("a", memoryview(b"content")))


def test_the_content_is_not_copied() -> None:
    large = memoryview(bytearray(100_000))
    assert any(piece is large for piece in archive_pieces([("a", large)]))


def test_the_comment_is_empty_and_its_length_the_last_two_bytes() -> None:
    content = archive(("a", b"content"))
    assert content[-2:] == b"\0\0"
    commented = content[:-2] + struct.pack("<H", 5) + b"hello"
    with zipfile.ZipFile(io.BytesIO(commented)) as opened:
        assert opened.comment == b"hello"
        assert opened.testzip() is None


@pytest.mark.parametrize("mapped", [False, True], ids=["read", "mapped"])
@pytest.mark.parametrize("count", [0, 1, 1000])
def test_stock_torch_reads_a_tensor_out_of_it(tmp_path: Path, count: int, mapped: bool) -> None:
    """The pickle is torch's own, taken out of a file that it wrote; the archive around it is ours."""
    tensor = torch.arange(float(count))
    buffer = io.BytesIO()
    torch.save({"a": tensor}, buffer)
    with zipfile.ZipFile(buffer) as theirs:
        (name,) = (name for name in theirs.namelist() if name.endswith("/data.pkl"))
        pickled = theirs.read(name)
    path = tmp_path / "weights.pth"
    path.write_bytes(
        archive(
            ("archive/data/0", tensor.numpy().tobytes()),
            ("archive/byteorder", sys.byteorder.encode()),
            ("archive/version", b"3\n"),
            ("archive/data.pkl", pickled),
        )
    )
    found = torch.load(path, weights_only=True, mmap=mapped)
    assert torch.equal(found["a"], tensor)


def test_a_changed_byte_of_a_member_is_found_by_stock_zip_tools() -> None:
    content = bytearray(archive(("a", b"content" * 10), ("b", pickle.dumps(5))))
    content[starts(bytes(content))[0] + 30] ^= 1
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        assert opened.testzip() == "a"
