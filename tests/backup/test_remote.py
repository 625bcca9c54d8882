"""Backups in a remote place: complete or not there, taken up again after a cut, verified when they come back."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st

from quadra.backup.manifest import MANIFEST, FileDigest, Manifest, decode, encode, manifest_of
from quadra.backup.remote import Remote
from quadra.errors import (
    BackupError,
    ConfigurationError,
    DamagedFileError,
    MissingFileError,
    UnknownSourceError,
)
from quadra.storage.layout import ALERTS, CORPORA, FILES, METRICS, SYSTEM, WEIGHTS
from quadra.storage.saved_state import SavedState, read
from tests.helpers.s3_helpers import BUCKET, CREDENTIALS, CuttingProxy, S3Server
from tests.helpers.state_helpers import RUN_A, assert_same_state, files_of, record, saved_states, write_state

AT = "2026-01-02T03:04:05.678Z"
OWN_TEXT = b"A line of my own.\nAnd another one.\n" * 10
OWN = hashlib.sha256(OWN_TEXT).hexdigest()
ALONG = {ALERTS: b'{"format_version": 1, "runs": {}}', f"{OWN}.json": b'{"name": "mine.txt"}', f"{OWN}.txt": OWN_TEXT}


class Faulty(MemoryFileSystem):
    """Fails at its k-th call; an upload that fails leaves half of the file, as a cut does on a plain disk."""

    protocol = "faulty"
    calls = 0
    fails_at = 0  # 0: never
    read: ClassVar[list[str]] = []  # what was opened

    def _count(self) -> bool:
        type(self).calls += 1
        return self.calls == self.fails_at

    def _fail(self) -> None:
        if self._count():
            raise ConnectionResetError("cut")

    def info(self, path: str, **options: Any) -> Any:
        self._fail()
        return super().info(path, **options)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        self._fail()
        super().makedirs(path, exist_ok)

    def put_file(self, lpath: str, rpath: str, **options: Any) -> None:
        if self._count():
            content = Path(lpath).read_bytes()
            self.store_half(rpath, content)
        super().put_file(lpath, rpath, **options)

    def pipe_file(self, path: str, value: bytes, **options: Any) -> None:
        if self._count():
            self.store_half(path, value)
        super().pipe_file(path, value, **options)

    def store_half(self, path: str, content: bytes) -> None:
        super().pipe_file(path, content[: len(content) // 2])
        raise ConnectionResetError("cut")

    def _open(self, path: str, mode: str = "rb", *arguments: Any, **options: Any) -> Any:
        if mode == "rb":
            type(self).read.append(path)
            self._fail()
        return super()._open(path, mode, *arguments, **options)

    def cat_file(self, path: str, *arguments: Any, **options: Any) -> Any:
        self._fail()
        return super().cat_file(path, *arguments, **options)


fsspec.register_implementation("faulty", Faulty)


@pytest.fixture(scope="module")
def states() -> list[SavedState]:
    return saved_states(3, 7)


@pytest.fixture(autouse=True)
def memory() -> Iterator[None]:
    """The memory of fsspec is one for the whole process."""
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    Faulty.calls = Faulty.fails_at = 0
    yield
    MemoryFileSystem.store.clear()


def packed(tmp_path: Path, state: SavedState, along: Mapping[str, bytes] | None = None) -> tuple[Path, Manifest]:
    """The files of a state in a folder, with what goes along, and the manifest of their backup."""
    folder = write_state(tmp_path / f"state-{state.record.iteration_count}", state)
    for name, content in (along or {}).items():
        (folder / name).write_bytes(content)
    return folder, manifest_of(folder, state.record, AT)


def whole_order(manifest: Manifest) -> list[int]:
    """The sizes of a backup's files in the order in which they are sent."""
    return [fact.size for fact in (*manifest.along.values(), *(manifest.files[name] for name in FILES))]


def place_of(kind: str, tmp_path: Path) -> Remote:
    return Remote({"file": (tmp_path / "place").as_uri(), "memory": "memory://place/below"}[kind])


def empty(tmp_path: Path) -> Path:
    folder = tmp_path / "fetched"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_what_was_put_is_listed_and_comes_back_the_same(tmp_path: Path, states: list[SavedState], kind: str) -> None:
    place = place_of(kind, tmp_path)
    assert place.listed() == []
    manifests = []
    for state in states:
        folder, manifest = packed(tmp_path, state)
        assert place.put(folder, manifest) == sum(len(content) for content in files_of(folder).values())
        assert place.put(folder, manifest) == 0
        manifests.append(manifest)
    assert sorted(place.listed(), key=lambda found: found.record.sequence) == manifests
    assert place.fetch(manifests[1].name, empty(tmp_path)) == manifests[1]
    assert_same_state(read(empty(tmp_path)), states[1])
    told = manifests[0].as_dict()
    assert (told["run"], told["iteration_count"], told["backed_up_at"]) == (RUN_A, 3, AT)
    assert told["name"] == f"{RUN_A}/3-{manifests[0].files[WEIGHTS].sha256[:12]}"


def test_the_newest_save_is_listed_first(tmp_path: Path, states: list[SavedState]) -> None:
    place = place_of("memory", tmp_path)
    folder = write_state(tmp_path / "state", states[0])
    for day in (2, 3, 1):
        kept = record(RUN_A, iteration_count=day, saved_at=f"2026-01-0{day}T00:00:00.000Z")
        place.put(folder, manifest_of(folder, kept, AT))
    assert [manifest.record.iteration_count for manifest in place.listed()] == [3, 2, 1]


@pytest.mark.parametrize("along", [{}, ALONG], ids=["the three files", "with text and rules"])
def test_whatever_call_fails_no_state_is_listed_that_is_not_whole_and_the_next_try_completes_it(
    tmp_path: Path, states: list[SavedState], along: Mapping[str, bytes]
) -> None:
    folder, manifest = packed(tmp_path, states[0], along)
    resumed = set()
    for number in range(1, 100):
        MemoryFileSystem.store.clear()
        Faulty.calls, Faulty.fails_at = 0, number
        place = Remote("faulty://place")
        try:
            place.put(folder, manifest)
        except BackupError as error:
            assert "cut" in str(error)
        else:
            break
        Faulty.fails_at = 0
        assert place.listed() == []
        with pytest.raises(UnknownSourceError):
            place.fetch(manifest.name, empty(tmp_path))
        resumed.add(place.put(folder, manifest))
        assert place.listed() == [manifest]
        assert place.fetch(manifest.name, empty(tmp_path)) == manifest
        assert place.fetch_along(manifest, empty(tmp_path)) == ()
        assert files_of(empty(tmp_path)) == files_of(folder)
    assert number > 10
    sizes = whole_order(manifest)
    assert set(manifest.along) == set(along)
    assert resumed == {sum(sizes[done:]) for done in range(len(sizes) + 1)}


def test_what_a_cut_upload_left_on_a_disk_is_synced_before_the_manifest_names_it(
    tmp_path: Path, states: list[SavedState], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, (folder, manifest) = place_of("file", tmp_path), packed(tmp_path, states[0], ALONG)

    def cut(_: int) -> None:
        raise OSError(5, "cut")

    monkeypatch.setattr("quadra.backup.remote.sync", cut)
    with pytest.raises(BackupError):
        place.put(folder, manifest)
    synced = []
    monkeypatch.setattr("quadra.backup.remote.sync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    place.put(folder, manifest)
    files = {path.stat().st_ino: path.name for path in (tmp_path / "place").rglob("*") if path.is_file()}
    assert sorted(files) == sorted(synced)
    assert files[synced[-1]] == MANIFEST


def test_a_text_is_sent_once_for_all_backups_and_read_there_once_at_most(
    tmp_path: Path, states: list[SavedState]
) -> None:
    place = Remote("faulty://place")
    url = f"{place._path(CORPORA)}/{OWN}.txt"
    first, second = (packed(tmp_path, state, ALONG) for state in states)
    text = len(OWN_TEXT)
    assert place.put(*first) == sum(whole_order(first[1]))
    assert place.put(*second) == sum(whole_order(second[1])) - text
    assert [path for path in MemoryFileSystem.store if path.endswith(".txt")] == [url]
    other = Remote("faulty://place")  # a later start of the server, which has not seen what is there
    for name in (*first[1].files, MANIFEST):
        place._system.rm_file(place._path(first[1].name, name))
    Faulty.read.clear()
    assert other.put(*first) == sum(first[1].files[name].size for name in FILES)
    place._system.rm_file(place._path(second[1].name, MANIFEST))
    assert other.put(*second) == 0
    assert Faulty.read.count(url) == 1
    place._system.rm_file(url)
    assert other.put(*second) == text


def test_the_same_state_with_other_rules_is_another_backup(tmp_path: Path, states: list[SavedState]) -> None:
    place = place_of("file", tmp_path)
    names = []
    for rules in (None, b"{}", b"[]"):
        folder, manifest = packed(tmp_path, states[0], {} if rules is None else {ALERTS: rules})
        assert place.put(folder, manifest) > 0
        names.append(manifest.name)
    assert {manifest.name for manifest in place.listed()} == set(names)
    assert len(set(names)) == 3
    for name, rules in zip(names, (None, b"{}", b"[]"), strict=True):
        place.fetch_along(place.fetch(name, empty(tmp_path)), empty(tmp_path))
        assert files_of(empty(tmp_path)).get(ALERTS) == rules


@pytest.mark.parametrize("harm", ["altered", "longer", "shorter", "gone"])
@pytest.mark.parametrize("file", [f"{OWN}.txt", ALERTS])
def test_what_goes_along_is_taken_whole_or_not_at_all_and_the_state_comes_back_without_it(
    tmp_path: Path, states: list[SavedState], file: str, harm: str
) -> None:
    place = place_of("file", tmp_path)
    folder, manifest = packed(tmp_path, states[0], ALONG)
    place.put(folder, manifest)
    target = tmp_path / "place" / (CORPORA if file.endswith(".txt") else manifest.name) / file
    whole = target.read_bytes()
    target.unlink()
    changed = {"altered": b"x" + whole[1:], "longer": whole + bytes(1 << 21), "shorter": whole[:-1]}
    if harm in changed:
        target.write_bytes(changed[harm])
    assert place.listed() == [manifest]
    assert place.fetch(manifest.name, empty(tmp_path)) == manifest
    (remark,) = place.fetch_along(manifest, empty(tmp_path))
    assert file in remark
    assert "restored without it" in remark
    fetched = files_of(empty(tmp_path))
    assert set(fetched) == {*FILES, *ALONG} - {file}
    assert place.put(folder, manifest) == (0 if harm == "altered" else len(whole))  # what a look finds is sent again


def test_what_is_too_large_or_has_another_content_than_its_name_says_is_not_sent(
    tmp_path: Path, states: list[SavedState], caplog: pytest.LogCaptureFixture
) -> None:
    odd = {f"{OWN}.txt": b"other", f"{OWN}.json": bytes(10_001), "note.txt": b"mine", "x.json": b"{}"}
    _, manifest = packed(tmp_path, states[0], odd)
    assert manifest.along == {}
    assert manifest.name == packed(tmp_path / "plain", states[0])[1].name
    assert f"{OWN}.txt is not backed up" in caplog.text
    assert "note.txt" not in caplog.text


def test_a_manifest_as_it_was_before_anything_went_along_is_a_backup(tmp_path: Path, states: list[SavedState]) -> None:
    place = place_of("file", tmp_path)
    folder, manifest = packed(tmp_path, states[0])
    place.put(folder, manifest)
    values = json.loads((tmp_path / "place" / manifest.name / MANIFEST).read_bytes())
    assert set(values) == {"backed_up_at", "files", "record"}
    assert place.fetch_along(place.fetch(manifest.name, empty(tmp_path)), empty(tmp_path)) == ()
    assert (manifest.as_dict()["own_text"], manifest.as_dict()["alert_rules"]) == (False, False)


@pytest.mark.parametrize(
    "along",
    [
        {"../../outside.txt": 2}, {"/etc/passwd": 2}, {WEIGHTS: 2}, {"app.py": 2}, {f"{OWN}.txt/../x": 2}, {"": 2},
        {ALERTS: -1}, {ALERTS: True}, {ALERTS: "2"}, {ALERTS: (4 << 20) + 1}, {f"{OWN}.txt": 2},
        {f"{OWN}.json": 10_001}, {f"{number:064}.json": 2 for number in range(4)}, [1], "text", 3, None,
    ],
)  # fmt: skip
def test_a_manifest_that_names_what_never_goes_along_is_no_backup(
    tmp_path: Path, states: list[SavedState], along: Any
) -> None:
    place = place_of("file", tmp_path)
    folder, manifest = packed(tmp_path, states[0])
    digest = hashlib.sha256(b"{}").hexdigest()
    facts = along
    if isinstance(along, dict):
        facts = {name: {"size": size, "sha256": digest} for name, size in along.items()}
        claimed = {name: FileDigest(size, digest) for name, size in along.items()}
        manifest = replace(manifest, along=claimed)  # so that its name fits what it says
    target = tmp_path / "place" / manifest.name
    shutil.copytree(folder, target)
    plain = encode(replace(manifest, along={}))
    (target / MANIFEST).write_bytes(json.dumps({**json.loads(plain), "along": facts}).encode())
    assert place.listed() == []
    with pytest.raises(UnknownSourceError):
        place.fetch(manifest.name, empty(tmp_path))
    assert files_of(empty(tmp_path)) == {}


def test_a_file_of_the_right_size_but_another_content_is_sent_again(tmp_path: Path, states: list[SavedState]) -> None:
    folder, manifest = packed(tmp_path, states[0])
    place = place_of("file", tmp_path)
    target = tmp_path / "place" / manifest.name
    target.mkdir(parents=True)
    (target / WEIGHTS).write_bytes(bytes(manifest.files[WEIGHTS].size))
    (target / METRICS).write_bytes((folder / METRICS).read_bytes())
    assert place.put(folder, manifest) == manifest.files[WEIGHTS].size + manifest.files[SYSTEM].size
    place.fetch(manifest.name, empty(tmp_path))


@pytest.mark.parametrize("file", FILES)
def test_a_damaged_or_missing_file_is_refused_by_its_name(tmp_path: Path, states: list[SavedState], file: str) -> None:
    folder, manifest = packed(tmp_path, states[0])
    place = place_of("file", tmp_path)
    place.put(folder, manifest)
    target = tmp_path / "place" / manifest.name / file
    content = bytearray(target.read_bytes())
    content[len(content) // 2] ^= 1
    target.write_bytes(content)
    with pytest.raises(DamagedFileError, match=file):
        place.fetch(manifest.name, empty(tmp_path))
    target.write_bytes(content[:-1])
    assert place.listed() == []
    target.unlink()
    assert place.listed() == []
    with pytest.raises(UnknownSourceError, match="no complete backup"):
        place.fetch(manifest.name, empty(tmp_path))


def test_a_file_that_goes_while_it_is_fetched_is_named(
    tmp_path: Path, states: list[SavedState], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, manifest = packed(tmp_path, states[0])
    place = Remote("memory://place")
    place.put(folder, manifest)

    def gone(*_: object, **__: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(MemoryFileSystem, "_open", gone)
    monkeypatch.setattr(MemoryFileSystem, "cat_file", lambda *_, **__: encode(manifest))
    with pytest.raises(MissingFileError, match=METRICS):
        place.fetch(manifest.name, empty(tmp_path))


def test_a_manifest_that_says_something_else_is_no_backup(tmp_path: Path, states: list[SavedState]) -> None:
    folder, manifest = packed(tmp_path, states[0])
    place = place_of("file", tmp_path)
    place.put(folder, manifest)
    file = tmp_path / "place" / manifest.name / MANIFEST
    whole = file.read_bytes()
    values = json.loads(whole)
    changes: list[dict[str, Any]] = [
        {"record": {**values["record"], "iteration_count": 4}},
        {"record": {**values["record"], "run": "../../../../etc"}},
        {"backed_up_at": "<script>"},
        {"files": {**values["files"], SYSTEM: {"size": 1, "sha256": "0" * 64}}},
        {"files": {**values["files"], SYSTEM: {**values["files"][SYSTEM], "sha256": "x"}}},
        {"files": {}},
    ]
    broken = [json.dumps({**values, **change}).encode() for change in changes]
    for content in (b"", whole[:-5], b"[]", b"null", b"\xff", *broken):
        file.write_bytes(content)
        assert place.listed() == []
    file.write_bytes(whole)
    assert place.listed() == [manifest]


ENTRIES = st.sampled_from(["record", "files", "backed_up_at", *FILES, "size", "sha256"])
JSON = st.recursive(
    st.none() | st.integers() | st.text(), lambda part: st.lists(part) | st.dictionaries(ENTRIES, part), max_leaves=10
)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_manifest_can_make_the_list_fail(content: bytes) -> None:
    assert decode(content, f"{RUN_A}/3-{'0' * 12}", {}) is None


def test_only_a_backup_is_removed_and_what_else_stands_there_stays(tmp_path: Path, states: list[SavedState]) -> None:
    place = place_of("file", tmp_path)
    (first, one), (second, other) = (packed(tmp_path, state) for state in states)
    place.put(first, one)
    place.put(second, other)
    note = tmp_path / "place" / one.name / "note.txt"
    note.write_text("mine")
    (tmp_path / "place" / "holiday.jpg").write_bytes(b"mine too")
    place.remove(one.name)
    assert place.listed() == [other]
    assert [entry.name for entry in note.parent.iterdir()] == ["note.txt"]
    place.remove(other.name)
    left = {path.name for path in (tmp_path / "place").rglob("*") if path.is_file()}
    assert left == {"note.txt", "holiday.jpg"}
    with pytest.raises(UnknownSourceError):
        place.remove(other.name)


@pytest.mark.parametrize("name", ["", "..", "../../etc", f"{RUN_A}/3-{'0' * 12}", f"{RUN_A}/../x", "a\0b"])
def test_a_name_that_is_none_of_a_backup_reaches_nothing(tmp_path: Path, name: str) -> None:
    place = place_of("file", tmp_path)
    for ask in (lambda: place.fetch(name, empty(tmp_path)), lambda: place.remove(name)):
        with pytest.raises(UnknownSourceError):
            ask()


def test_a_place_that_cannot_be_written_says_why(tmp_path: Path, states: list[SavedState]) -> None:
    (tmp_path / "place").write_text("a file, no folder")
    with pytest.raises(BackupError, match="place"):
        place_of("file", tmp_path).put(*packed(tmp_path, states[0]))


@pytest.mark.parametrize(("url", "package"), [("file:///somewhere", "fsspec"), ("s3://bucket", "s3fs")])
def test_a_missing_package_is_told_with_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, url: str, package: str
) -> None:
    monkeypatch.delitem(import_module("fsspec.registry")._registry, "s3", raising=False)  # what was imported before
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigurationError, match=r"pip install -r requirements-backup\.txt") as told:
        Remote(url)
    assert told.value.field == "backup_url"
    assert package in str(told.value)


def test_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="nowhere://"):
        Remote("nowhere://bucket")


def test_a_password_in_the_address_is_not_shown() -> None:
    assert Remote("ftp://me:secret@server/folder").shown_url == "ftp://server/folder"


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    server = S3Server()
    yield server
    server.close()


@pytest.mark.process
def test_an_upload_to_s3_that_is_cut_anywhere_lists_nothing_and_is_taken_up_again(
    tmp_path: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": s3.url}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(import_module("s3fs").S3FileSystem, "retries", 1)  # that library's own; ours are to be seen
    state = saved_states(5, field_size=60, field_update_hidden=60)[0]
    content = OWN_TEXT * 300
    own, text = hashlib.sha256(content).hexdigest(), len(content)
    folder, manifest = packed(tmp_path, state, {ALERTS: ALONG[ALERTS], f"{own}.txt": content})
    direct = Remote(f"s3://{BUCKET}/some/where")
    with pytest.raises(BackupError, match="bucket does not exist"):
        direct.put(folder, manifest)
    direct._system.mkdir(BUCKET)
    with CuttingProxy(s3.port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        place = Remote(direct.url)
        size = manifest.files[WEIGHTS].size
        for allowed in (0, text // 2, text + size // 3, size):  # at once, in the text, and in the weights, twice
            proxy.allow(allowed)
            with pytest.raises(BackupError):
                place.put(folder, manifest)
            assert direct.listed() == []
        assert proxy.cuts >= 4
        proxy.allow(None)
        sent = place.put(folder, manifest)
    assert 0 < sent < manifest.size
    assert direct._size(f"{direct._path(CORPORA)}/{own}.txt") == text
    assert direct.listed() == [manifest]
    direct.fetch(manifest.name, empty(tmp_path))
    assert direct.fetch_along(manifest, empty(tmp_path)) == ()
    assert files_of(empty(tmp_path)) == files_of(folder)
    assert_same_state(read(empty(tmp_path)), state)
    direct.remove(manifest.name)
    assert direct.listed() == []
    assert {Path(path).parent.name for path in direct._system.find(BUCKET)} == {CORPORA}
