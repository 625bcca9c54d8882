"""Disk: what returns is durable, what fails leaves the old file, and no link is followed."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quadra.errors import DamagedFileError, InaccessibleFileError, MissingFileError
from quadra.storage.files import durable
from quadra.storage.files.durable import (
    is_plain_file,
    link_or_copy,
    overwrite_byte,
    read_file,
    remove,
    replace_file,
    sync_folder,
    temporary_of,
    write_at,
    write_file,
)
from quadra.storage.folder import StateFolder
from quadra.storage.layout import WEIGHTS
from tests.helpers.faults import Disk
from tests.helpers.state_helpers import Crash, fault, files_of

NAME = WEIGHTS


class Calls:
    """What is asked of module os, in order; files by their names."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.lines: list[str] = []
        self._names: dict[int, str] = {}
        for name in ("open", "write", "fsync", "fdatasync", "replace", "link", "unlink", "ftruncate"):
            patch.setattr(os, name, self._watched(name, getattr(os, name)))

    def _watched(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any, **options: Any) -> Any:
            result = function(*arguments, **options)
            if name == "open":
                self._names[result] = Path(arguments[0]).name
            paths = arguments[:2] if name in ("replace", "link") else arguments[:1]
            named = [self._names[path] if isinstance(path, int) else Path(path).name for path in paths]
            self.lines.append(" ".join([name, *(named if name != "open" else named[-1:])]))
            return result

        return watched


def test_a_replaced_file_holds_the_new_content(tmp_path: Path) -> None:
    path = tmp_path / NAME
    for content in (b"first", b"", b"second" * 100_000):
        replace_file(path, [content])
        assert files_of(tmp_path) == {NAME: content}


@pytest.mark.parametrize(
    ("operation", "code"), [("fdatasync", errno.EIO), ("replace", errno.EACCES), ("fdatasync", errno.ENOSPC)]
)
def test_a_replacement_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, operation: str, code: int
) -> None:
    path = tmp_path / NAME
    path.write_bytes(b"old")
    with fault(1, OSError(code, os.strerror(code)), (operation,)), pytest.raises(OSError, match=os.strerror(code)):
        replace_file(path, [b"new"])
    assert files_of(tmp_path) == {NAME: b"old"}


def test_a_replacement_that_does_not_fit_on_the_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="only POSIX systems limit the size of files")
    path = tmp_path / NAME
    path.write_bytes(b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            replace_file(path, [b"new" * 1_000_000])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert files_of(tmp_path) == {NAME: b"old"}


def test_a_replacement_that_is_cut_off_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path, seen = tmp_path / NAME, []
    for number in itertools.count(1):
        path.write_bytes(b"old")
        with contextlib.suppress(Crash), fault(number, Crash()) as cut:
            replace_file(path, [b"new"])
        StateFolder(tmp_path).close()
        assert files_of(tmp_path) in ({NAME: b"old"}, {NAME: b"new"})
        seen.append(path.read_bytes())
        if not cut.happened:
            break
    assert seen == sorted(seen, reverse=True)
    assert set(seen) == {b"old", b"new"}


def test_a_replacement_takes_the_place_of_a_link_and_leaves_its_target(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / NAME).symlink_to(tmp_path / "mine")
    replace_file(tmp_path / NAME, [b"new"])
    assert (tmp_path / "mine").read_text() == "mine"
    assert not (tmp_path / NAME).is_symlink()


def test_a_file_is_written_beside_synced_renamed_and_its_folder_synced(tmp_path: Path) -> None:
    folder, temporary = tmp_path.name, temporary_of(tmp_path / NAME).name
    with pytest.MonkeyPatch.context() as patch:
        calls = Calls(patch)
        replace_file(tmp_path / NAME, [b"new", memoryview(b"er")])
    assert calls.lines == [
        f"open {temporary}", f"write {temporary}", f"write {temporary}", f"fdatasync {temporary}",
        f"replace {temporary} {NAME}", f"open {folder}", f"fsync {folder}",
    ]  # fmt: skip


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_disk_that_cannot_sync_a_folder_is_written_all_the_same_and_says_that_it_cannot(
    tmp_path: Path, number: int
) -> None:
    with Disk(tmp_path) as disk:
        disk.folder_sync_error = number
        replace_file(tmp_path / NAME, [b"new"])
        assert not sync_folder(tmp_path)
        disk.folder_sync_error = None
        assert sync_folder(tmp_path)
    assert (tmp_path / NAME).read_bytes() == b"new"


def test_a_folder_whose_sync_fails_for_any_other_reason_is_an_error(tmp_path: Path) -> None:
    with Disk(tmp_path) as disk:
        disk.folder_sync_error = errno.EIO
        with pytest.raises(OSError, match="Input/output error"):
            sync_folder(tmp_path)


def test_writing_into_a_file_syncs_it_last(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"content")
    with pytest.MonkeyPatch.context() as patch:
        calls = Calls(patch)
        write_at(tmp_path / NAME, 3, b"123")
        overwrite_byte(tmp_path / NAME, 0, b"C")
    assert calls.lines == [
        f"{operation} {NAME}" for operation in ("open", "write", "ftruncate", "fdatasync", "open", "write", "fdatasync")
    ]
    assert (tmp_path / NAME).read_bytes() == b"Con123"


@pytest.mark.parametrize(("offset", "content"), [(0, b""), (2, b"xy"), (7, b" and more"), (7, b"")])
def test_what_stood_behind_what_is_written_into_a_file_is_cut_off(tmp_path: Path, offset: int, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(b"content")
    write_at(tmp_path / NAME, offset, content)
    assert (tmp_path / NAME).read_bytes() == b"content"[:offset] + content


def test_one_byte_is_changed_and_no_other(tmp_path: Path) -> None:
    for place in range(7):
        (tmp_path / NAME).write_bytes(b"content")
        overwrite_byte(tmp_path / NAME, place, b"!")
        assert (tmp_path / NAME).read_bytes() == b"content"[:place] + b"!" + b"content"[place + 1 :]


def test_only_a_file_that_is_there_is_written_into(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_at(tmp_path / NAME, 0, b"new")
    with pytest.raises(FileNotFoundError):
        overwrite_byte(tmp_path / NAME, 0, b"n")
    assert files_of(tmp_path) == {}


@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_file(path, [b"new"]),
        lambda path: write_at(path, 0, b"new"),
        lambda path: overwrite_byte(path, 0, b"n"),
    ],
    ids=["a file", "into a file", "a byte"],
)
def test_nothing_is_written_through_a_link(tmp_path: Path, write: Callable[[Path], None]) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / NAME).symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match="symbolic links"):
        write(tmp_path / NAME)
    assert (tmp_path / "mine").read_text() == "mine"


@given(st.lists(st.binary(max_size=60) | st.binary(max_size=60).map(bytearray)), st.integers(1, 20))
def test_all_of_every_piece_is_written_though_the_system_takes_less_at_a_time(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], taken: int
) -> None:
    path, write = tmp_path_factory.mktemp("disk") / NAME, os.write
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, content: write(descriptor, content[:taken]))
        write_file(path, pieces)
    assert path.read_bytes() == b"".join(pieces)


def test_a_piece_that_is_too_large_for_one_call_is_written_in_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    write = os.write

    def watched(descriptor: int, content: memoryview) -> int:
        sizes.append(len(content))
        return write(descriptor, content)

    monkeypatch.setattr(durable, "_LARGEST_WRITE", 4)
    monkeypatch.setattr(os, "write", watched)
    write_file(tmp_path / NAME, [b"0123456789"])
    assert sizes == [4, 4, 2]
    assert (tmp_path / NAME).read_bytes() == b"0123456789"


# --- second names


def test_a_link_is_a_second_name_of_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    link_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a").samefile(tmp_path / "b")
    assert files_of(tmp_path) == {"a": b"content", "b": b"content"}


def test_a_link_replaces_what_has_the_name(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "b").write_bytes(b"older")
    link_or_copy(tmp_path / "a", tmp_path / "b")
    assert files_of(tmp_path) == {"a": b"content", "b": b"content"}


def test_linking_again_leaves_no_temporary_name_behind(tmp_path: Path) -> None:
    """To rename one name of a file onto another of its names does nothing: the temporary one would stay."""
    (tmp_path / "a").write_bytes(b"content")
    link_or_copy(tmp_path / "a", tmp_path / "b")
    link_or_copy(tmp_path / "a", tmp_path / "b")
    (tmp_path / "a").unlink()
    (tmp_path / "a").write_bytes(b"newer")
    link_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a").samefile(tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"newer"


@pytest.mark.parametrize("code", [errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES])
def test_where_the_disk_has_no_links_a_durable_copy_is_made(tmp_path: Path, code: int) -> None:
    (tmp_path / "a").write_bytes(b"content")
    with fault(1, OSError(code, os.strerror(code)), ("link",)), pytest.MonkeyPatch.context() as patch:
        calls = Calls(patch)
        link_or_copy(tmp_path / "a", tmp_path / "b")
    assert "fdatasync .b.tmp" in calls.lines
    assert not (tmp_path / "a").samefile(tmp_path / "b")
    assert files_of(tmp_path) == {"a": b"content", "b": b"content"}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_link_that_fails_in_another_way_is_told_and_leaves_what_has_the_name(tmp_path: Path, code: int) -> None:
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "b").write_bytes(b"older")
    with fault(1, OSError(code, os.strerror(code)), ("link",)), pytest.raises(OSError, match=os.strerror(code)):
        link_or_copy(tmp_path / "a", tmp_path / "b")
    assert files_of(tmp_path) == {"a": b"content", "b": b"older"}


@pytest.mark.parametrize("operation", ["link", "replace"])
def test_a_link_that_fails_leaves_no_temporary_name_behind(tmp_path: Path, operation: str) -> None:
    (tmp_path / "a").write_bytes(b"content")
    with fault(1, OSError(errno.EIO, "Input/output error"), (operation,)), pytest.raises(OSError, match="Input"):
        link_or_copy(tmp_path / "a", tmp_path / "b")
    assert files_of(tmp_path) == {"a": b"content"}


# --- reading and removing


def test_a_link_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    (tmp_path / "folder").mkdir()
    for name in ("link", "folder"):
        with pytest.raises(DamagedFileError) as refused:
            read_file(tmp_path / name)
        assert refused.value.path == tmp_path / name


def test_a_file_that_is_not_there_is_told_from_one_that_is_withheld(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MissingFileError):
        read_file(tmp_path / NAME)

    def withheld(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", withheld)
    with pytest.raises(InaccessibleFileError, match="Permission denied"):
        read_file(tmp_path / NAME)


def test_what_is_there_is_removed_and_what_is_not_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / NAME).symlink_to(tmp_path / "mine")
    remove(tmp_path / NAME)
    remove(tmp_path / NAME)
    assert files_of(tmp_path) == {"mine": b"mine"}


def test_a_plain_file_is_one_that_is_no_link_and_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "folder").mkdir()
    assert [name for name in ("file", "link", "folder", "gone") if is_plain_file(tmp_path / name)] == ["file"]


def test_a_folder_that_is_not_there_cannot_be_synced(tmp_path: Path) -> None:
    sync_folder(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync_folder(tmp_path / "gone")
