"""Files that somebody forged: nothing in them runs, takes the memory, or leads out of the folder."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch

from quadra.errors import FolderError, LoadError, SaveError
from quadra.reports.check import check
from quadra.storage.catalog import read_catalog
from quadra.storage.files.lock import LOCK
from quadra.storage.layout import (
    METRICS,
    METRICS_COPY,
    RESET_MARKER,
    RUNS,
    SAVES,
    SET_ASIDE,
    SYSTEM,
    WEIGHTS,
    StateLayout,
)
from quadra.storage.metrics_file import parse
from quadra.storage.save_record import SaveRecord, peek, seal, verify
from quadra.storage.weights_file import decode
from tests.helpers.fault_loops import FIRST, SECOND, assert_true_to_its_run, opened
from tests.helpers.faults import image_of
from tests.helpers.rotation import Draw
from tests.helpers.scenarios import two_runs
from tests.helpers.state_helpers import run_python, train

_MEGABYTES = 150  # that loads of forged files may take more than one of honest files
_RING = f"{SAVES}/2.pth"  # the newest of the earlier saves


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two runs and earlier saves."""
    two_runs(tmp_path)
    return tmp_path / "state"


def sealed(archive: bytes, record: SaveRecord) -> bytes:
    """An archive without a comment as a weights file with a true seal: anybody can make one."""
    return b"".join(bytes(piece) for piece in seal([archive], record))


def record_of(path: Path, **changes: Any) -> SaveRecord:
    """The record of a weights file, with differences."""
    record = peek(path)
    assert record is not None
    return SaveRecord(**{**vars(record), **changes})


def archive_of(values: object) -> bytes:
    """What torch.save makes of it."""
    buffer = io.BytesIO()
    torch.save(values, buffer)
    return buffer.getvalue()


class _Trap:
    """Unpickled by trust, it runs code that leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self._trace),)


@pytest.mark.parametrize("name", [METRICS, SYSTEM, WEIGHTS, f"{SAVES}/{METRICS_COPY}", _RING])
def test_no_code_in_a_file_is_run(folder: Path, tmp_path: Path, name: str) -> None:
    trace, path = tmp_path / "trace", folder / name
    forged = {"loss_history": _Trap(trace), "iteration_count": 10, "q_table": _Trap(trace)}
    if name.endswith(".pth"):
        record = record_of(path)
        path.write_bytes(sealed(archive_of(forged), record))
        if name == _RING:  # so that it is tried
            (folder / WEIGHTS).unlink()
    else:
        path.write_bytes(pickle.dumps(forged))
    with opened(folder) as state:
        report = state.load()
        assert_true_to_its_run(state)
        assert state.iteration_count >= 6
        assert path.name in " ".join(report.remarks())
    check(folder)
    assert not trace.exists()


def _bomb(path: Path) -> None:
    """A member that would unpack to 200 MB."""
    honest, buffer = path.read_bytes(), io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(honest)) as source, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        for member in source.infolist():
            content = source.read(member)
            with target.open(member.filename, "w", force_zip64=True) as stream:
                stream.write(content)
                if member.filename.endswith("data/0"):
                    for _ in range(200):
                        stream.write(bytes(1 << 20))
    path.write_bytes(sealed(buffer.getvalue(), record_of(path)))


def _forge(path: Path, change: Callable[[dict[str, Any]], None], **record: Any) -> None:
    values = decode(path.read_bytes())
    change(values)
    path.write_bytes(sealed(archive_of(values), record_of(path, **record)))


def _endless_history(path: Path) -> None:
    count = 3_000_000_000
    _forge(path, lambda values: values.update(iteration_count=count), iteration_count=count, metrics_rows=count - 7)


def _huge_run(path: Path) -> None:
    def change(values: dict[str, Any]) -> None:
        values["configuration"].update(field_size=1_000_000, field_update_hidden=10_000, patterns=10_000)

    _forge(path, change, field_size=1_000_000)


def _wide_tensor(path: Path) -> None:
    _forge(path, lambda values: values.update(field=torch.zeros(1).expand(1 << 40)))


def _nested(path: Path) -> None:
    def change(values: dict[str, Any]) -> None:
        inner: list[Any] = []
        for _ in range(40):
            inner = [inner, inner]
        values["newest"] = inner

    _forge(path, change)


def _forged_metrics(path: Path) -> None:
    """The first block says that it has two thousand million rows."""
    for file in (path.parent / METRICS, path.parent / SAVES / METRICS_COPY):
        content = file.read_bytes()
        blocks = parse(content, file).rows
        place = content.index(struct.pack("<Q", 16 * 3)) if len(blocks) > 3 else 0
        forged = content[:place] + struct.pack("<Q", 16 * 2_000_000_000) + content[place + 8 :]
        file.write_bytes(forged)


_MEASURED_LOADS = """
import resource, sys
from pathlib import Path
from tests.helpers.fault_loops import opened
for folder in sys.argv[1:]:
    with opened(Path(folder)) as state:
        print(state.load_state(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.process
@pytest.mark.long
def test_forged_sizes_claim_no_memory(tmp_path: Path) -> None:
    forgeries = (_bomb, _endless_history, _huge_run, _wide_tensor, _nested, _forged_metrics)
    folders = []
    for number in range(len(forgeries) + 1):  # the first stays honest
        (tmp_path / str(number)).mkdir()
        two_runs(tmp_path / str(number))
        folders.append(tmp_path / str(number) / "state")
    for forge, folder in zip(forgeries, folders[1:], strict=True):
        forge(folder / WEIGHTS)
    lines = run_python(_MEASURED_LOADS, *folders).splitlines()
    honest = int(lines[0].split()[1])
    for name, line in zip(("honest", *(forge.__name__ for forge in forgeries)), lines, strict=True):
        loaded, megabytes = line.split()
        assert loaded == "True", name
        assert int(megabytes) - honest < _MEGABYTES, name


_JUNK: tuple[Any, ...] = (
    None, "text", -1, 1e400, [], {}, [[1]], b"bytes", torch.zeros(3, 3), torch.zeros(()), True, 2**70,
    10**400,
)  # fmt: skip


def test_a_true_seal_around_junk_raises_nothing_but_our_own_errors(folder: Path, draw: Draw) -> None:
    honest = (folder / WEIGHTS).read_bytes()
    record = verify(honest, WEIGHTS)
    assert record is not None
    for number in draw(range(200), 10):
        values = decode(honest)
        _put_junk(values, Random(number))
        (folder / WEIGHTS).write_bytes(sealed(archive_of(values), record))
        with opened(folder) as state:
            try:
                state.load()
            except LoadError:
                pytest.fail(f"{number}: the earlier save was not loaded")
            train(state, 1)
        check(folder)


def _put_junk(values: dict[str, Any], chance: Random) -> None:
    """One entry, at some depth, is something else or gone."""
    while True:
        name = chance.choice(sorted(values))
        if isinstance(values[name], dict) and values[name] and chance.random() < 0.6:
            values = values[name]
            continue
        if chance.random() < 0.2:
            del values[name]
        else:
            values[name] = chance.choice(_JUNK)
        return


_PLACES = [
    WEIGHTS, METRICS, SYSTEM, SAVES, RUNS, SET_ASIDE, LOCK, RESET_MARKER, ".write-test", f".{WEIGHTS}.tmp",
    f".{METRICS}.tmp", _RING, f"{SAVES}/{METRICS_COPY}", f"{SAVES}/.0.pth.tmp", f"{RUNS}/*", f"{RUNS}/*/{WEIGHTS}",
    f"{RUNS}/*/{METRICS}",
]  # fmt: skip


@pytest.mark.rotates(8)
@pytest.mark.parametrize("name", _PLACES)
@pytest.mark.parametrize("dangling", [False, True], ids=["to something", "to nothing"])
def test_a_link_in_any_place_leads_nowhere(folder: Path, tmp_path: Path, name: str, dangling: bool) -> None:
    (run,) = (folder / RUNS).iterdir()
    path = folder / name.replace("*", run.name)
    outside = tmp_path / "outside"
    outside.mkdir()
    target = outside / "there"
    if path.exists():
        path.rename(target)
    elif name == SET_ASIDE:
        target.mkdir()
    else:
        target.write_bytes(b"somebody else's")
    if dangling:
        target.rename(tmp_path / "gone")
    path.symlink_to(target)
    before = image_of(outside)
    _do_everything(folder)
    assert image_of(outside) == before
    assert _read_from(folder, outside) == []


def _do_everything(folder: Path) -> None:
    """Look, load, train, save, begin another run, load the other one, reset; what cannot be done is said."""
    list(read_catalog(StateLayout(folder)).states)
    check(folder)
    try:
        state = opened(folder)
    except FolderError:
        return
    with state:
        for act in (
            state.load, lambda: train(state, 2), state.save, lambda: state.initialize(seed=SECOND),
            lambda: train(state, 1), state.save, state.load, state.reset,
        ):  # fmt: skip
            try:
                act()
            except (LoadError, SaveError, FolderError, OSError):
                continue
            except Exception as error:
                assert type(error).__name__ == "RefusedError", error


def _read_from(folder: Path, outside: Path) -> list[str]:
    """Files that now stand in the folder with the content of one outside."""
    foreign = {content for content in image_of(outside).values() if content}
    return [
        path for path, content in image_of(folder).items() if content in foreign and not (folder / path).is_symlink()
    ]


def test_a_linked_state_is_not_loaded_though_it_is_whole(folder: Path, tmp_path: Path) -> None:
    for name in (WEIGHTS, SAVES):
        (folder / name).rename(tmp_path / name)
        (folder / name).symlink_to(tmp_path / name)
    assert all(copy.seed == SECOND for copy in read_catalog(StateLayout(folder)).copies)
    with opened(folder) as state:
        state.load()
        assert state.config.seed == SECOND


def test_a_pipe_in_place_of_a_file_stops_nobody(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    os.mkfifo(folder / WEIGHTS)
    with opened(folder) as state:
        state.load()
        assert state.iteration_count == 9


@pytest.mark.parametrize("run", ["../../outside", "/tmp/outside0000", "..", "a" * 15 + "/", "A" * 16, "", "a" * 17])
def test_a_run_whose_id_is_a_path_is_none(folder: Path, tmp_path: Path, run: str) -> None:
    honest = (folder / WEIGHTS).read_bytes()
    archive = honest[: honest.rfind(b"PK\x05\x06") + 20] + b"\0\0"
    (folder / WEIGHTS).write_bytes(sealed(archive, record_of(folder / WEIGHTS, run=run)))
    before = image_of(tmp_path)
    with opened(folder) as state:
        report = state.load()
        assert state.config.seed == FIRST
        assert state.iteration_count == 9
        assert WEIGHTS in " ".join(report.remarks())
        state.initialize(seed=3)
        train(state, 1)
        state.save()
    new = {path for path in image_of(tmp_path) if path not in before}
    assert all(path.startswith("state/") for path in new)
