"""The process that carries out the commits of small saves: the same commit, told the same way, and it leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from quadra import TrainingState
from quadra.errors import FolderChangedError, FolderLockedError, SaveError
from quadra.model.packing import packed
from quadra.storage import writer_process
from quadra.storage.commit import CommitRequest, Committed, commit
from quadra.storage.files.durable import identity_of
from quadra.storage.files.lock import FolderLock
from quadra.storage.folder import StateFolder
from quadra.storage.layout import WEIGHTS
from quadra.storage.weights_entries import Contents
from quadra.storage.writer_process import CAPACITY, IS_POSSIBLE, WriterProcess
from tests.helpers.state_helpers import REPOSITORY, assert_same, content, new_run, record, small_config, train
from tests.helpers.waiting import PATIENCE, wait_until

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not IS_POSSIBLE, reason="descriptors cannot be handed to another process here"),
]


@pytest.fixture(scope="module")
def writer() -> Iterator[WriterProcess]:
    writer = WriterProcess()
    yield writer
    writer.close()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[StateFolder]:
    with StateFolder(tmp_path / "state") as folder:
        folder.saves_folder()
        yield folder


PLAIN = packed({"wins": [1, 2], "optimizer_step": 3, "generators": {"samples": b"generator"}, "q_table": {}})


def request(folder: StateFolder, tensors: bytes = b"t" * 1000, tail: bytes = b"tail") -> CommitRequest:
    return CommitRequest(
        folder=str(folder.path), lock=folder.lock, present=identity_of(folder.path / WEIGHTS), keep_present=True,
        record=record(), tensors=tensors, contents=Contents(b"described", b"tail described", tail, PLAIN),
    )  # fmt: skip


def committed_by(writer: WriterProcess) -> Committed:
    """The answer to the request that was sent, which must be a commit."""
    answer = writer.answer(PATIENCE)
    assert isinstance(answer, Committed), answer
    return answer


def test_the_writer_process_writes_what_this_process_would_write(writer: WriterProcess, folder: StateFolder) -> None:
    committed = commit(request(folder))
    expected = (folder.path / WEIGHTS).read_bytes()
    (folder.path / WEIGHTS).unlink()
    assert writer.send(request(folder))
    again = committed_by(writer)
    assert again.size == committed.size
    assert (folder.path / WEIGHTS).read_bytes() == expected
    assert again.identity == identity_of(folder.path / WEIGHTS)


def test_what_the_present_save_was_is_kept(writer: WriterProcess, folder: StateFolder) -> None:
    for tensors in (b"first", b"second"):
        assert writer.send(request(folder, tensors))
        committed_by(writer)
    (kept,) = folder.layout.earlier_saves()
    assert b"first" in kept.read_bytes()
    assert b"second" in (folder.path / WEIGHTS).read_bytes()


def test_an_exchanged_folder_is_told_and_left_as_it_is(writer: WriterProcess, folder: StateFolder) -> None:
    ours = request(folder)
    (folder.path / WEIGHTS).write_bytes(b"somebody else's")
    assert writer.send(ours)
    assert isinstance(writer.answer(PATIENCE), FolderChangedError)
    assert (folder.path / WEIGHTS).read_bytes() == b"somebody else's"
    assert sorted(path.name for path in folder.path.iterdir()) == [".lock", WEIGHTS, "saves"]


def test_the_systems_reason_comes_back_and_the_next_request_is_carried_out(
    writer: WriterProcess, folder: StateFolder
) -> None:
    (folder.path / f".{WEIGHTS}.tmp").mkdir()
    assert writer.send(request(folder))
    failure = writer.answer(PATIENCE)
    assert isinstance(failure, IsADirectoryError)
    assert WEIGHTS in str(failure)
    (folder.path / f".{WEIGHTS}.tmp").rmdir()
    assert writer.send(request(folder))
    committed_by(writer)


def test_what_does_not_fit_is_not_taken(writer: WriterProcess, folder: StateFolder) -> None:
    assert not writer.send(request(folder, tensors=bytes(CAPACITY + 1)))
    assert not writer.send(request(folder, tail=bytes(CAPACITY)))
    assert not (folder.path / WEIGHTS).exists()


def test_the_copy_is_taken_before_send_returns(writer: WriterProcess, folder: StateFolder) -> None:
    tensors = bytearray(b"before" * 100_000)
    assert writer.send(request(folder)._replace(tensors=tensors))
    tensors[:] = b"after!" * 100_000
    committed_by(writer)
    assert b"after!" not in (folder.path / WEIGHTS).read_bytes()


def test_a_request_is_not_taken_before_the_last_one_is_answered(writer: WriterProcess, folder: StateFolder) -> None:
    temporary = folder.path / f".{WEIGHTS}.tmp"
    os.mkfifo(temporary)  # a write to it does not begin before somebody reads
    assert writer.send(request(folder, b"held back"))
    assert writer.answer(0.0) is None
    assert not writer.send(request(folder, b"too early"))
    temporary.open("rb").close()
    assert isinstance(writer.answer(PATIENCE), OSError)
    assert not (folder.path / WEIGHTS).exists()
    assert writer.send(request(folder, b"in its turn"))
    committed_by(writer)
    assert b"in its turn" in (folder.path / WEIGHTS).read_bytes()


def test_an_answer_that_nobody_asked_for_is_not_taken_for_the_next_ones(
    writer: WriterProcess, folder: StateFolder
) -> None:
    assert writer.send(request(folder, b"first"))
    wait_until(lambda: writer.send(request(folder, b"second" * 100)._replace(present=None)))
    assert isinstance(
        writer.answer(PATIENCE), FolderChangedError
    )  # the second: by then the first one's file stands there


def test_saves_by_the_writer_process_and_by_this_one_make_one_run(writer: WriterProcess, tmp_path: Path) -> None:
    with TrainingState(tmp_path / "state", small_config(), writer) as state:
        new_run(state, 3, "stopped")
        sent = 0
        for _ in range(40):
            train(state, 1)
            pending = state.saving.begin()
            sent += pending.writer == "process"
            pending.wait(PATIENCE)
            state.saving.collect()
            assert state.saving.unsaved_iterations == 0
        assert sent > 30
        expected = content(state)
        state.release()  # as a crash would: the newest save is the writer process's
    with TrainingState(tmp_path / "state", small_config()) as state:
        report = state.load()
        assert report.remarks() == []
        assert_same(content(state), expected)


def test_a_failed_save_by_the_writer_process_is_followed_by_one_that_works(
    writer: WriterProcess, tmp_path: Path
) -> None:
    with TrainingState(tmp_path / "state", small_config(), writer) as state:
        new_run(state, 3, "stopped")
        train(state, 1)
        (tmp_path / "state" / f".{WEIGHTS}.tmp").mkdir()
        assert state.saving.begin().writer == "process"
        state.saving.wait()
        with pytest.raises(SaveError, match="directory"):
            state.saving.collect()
        (tmp_path / "state" / f".{WEIGHTS}.tmp").rmdir()
        train(state, 1)
        state.saving.begin().wait(PATIENCE)
        assert state.saving.collect() is not None
        assert state.saving.unsaved_iterations == 0


def test_without_its_writer_process_a_state_saves_by_itself(tmp_path: Path) -> None:
    writer = WriterProcess()
    with TrainingState(tmp_path / "state", small_config(), writer) as state:
        new_run(state, 3, "stopped")
        os.kill(writer._process.pid, signal.SIGKILL)
        writer.wait()
        for _ in range(3):
            train(state, 1)
            state.save_state()
            assert state.saving.unsaved_iterations == 0
    writer.close()


def test_a_writer_process_ends_with_its_parent_however_that_ends() -> None:
    program = "from quadra.storage.writer_process import WriterProcess; s = WriterProcess(); "
    program += "print(s._process.pid, flush=True); input()"
    parent = subprocess.Popen(
        [sys.executable, "-c", program], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert is_running(child)
    parent.kill()
    parent.wait()
    wait_until(lambda: not is_running(child))


def test_a_signal_that_reaches_the_writer_process_is_passed_on() -> None:
    program = (
        "import os, signal, threading; from quadra.storage.writer_process import WriterProcess; told = threading.Event();"
        "signal.signal(signal.SIGTERM, lambda *_: told.set()); s = WriterProcess(); print(s._process.pid, flush=True);"
        "input(); os.kill(s._process.pid, signal.SIGTERM); "
        "raise SystemExit(0 if told.wait(300) and s._process.poll() is None else 1)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    wait_for_handlers(int(parent.stdout.readline()))
    parent.stdin.write("\n")
    parent.stdin.flush()
    assert parent.wait(PATIENCE) == 0


def wait_for_handlers(pid: int) -> None:
    """Until a writer process has handlers for its signals, SIGHUP the last; for that one its parent has none to inherit."""
    wait_until(lambda: caught_signals(pid) >> (signal.SIGHUP - 1) & 1)


def caught_signals(pid: int) -> int:
    """The signals for which a process has handlers, a bit each."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt:"))


def is_running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def test_a_writer_process_imports_neither_torch_nor_numpy() -> None:
    program = (
        "import sys; import quadra.storage.writer_process; "
        "print([name for name in ('torch', 'numpy', 'numba') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert writer_process.IS_POSSIBLE


def test_a_folder_is_not_free_before_what_a_killed_server_left_behind_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = (
        "import subprocess, sys; from pathlib import Path; from quadra.storage.folder import StateFolder; "
        "f = StateFolder(Path(sys.argv[1])); p = subprocess.Popen(['sleep', '600'], pass_fds=[f.lock_descriptor]); "
        "print(p.pid, flush=True); input()"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "state")],
        cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert server.stdout is not None
    left_behind, was_ended = int(server.stdout.readline()), threading.Event()
    with pytest.raises(FolderLockedError, match=str(server.pid)):
        StateFolder(tmp_path / "state")
    server.kill()
    server.wait(PATIENCE)

    try_lock, attempts = FolderLock._try_lock, list[FolderLock]()

    def counted(lock: FolderLock) -> None:
        attempts.append(lock)
        try_lock(lock)

    monkeypatch.setattr(FolderLock, "_try_lock", counted)
    monkeypatch.setattr("quadra.storage.files.lock.LAST_WRITE", PATIENCE)

    def end_it() -> None:
        wait_until(lambda: len(attempts) > 1)
        was_ended.set()
        os.kill(left_behind, signal.SIGKILL)

    ending = threading.Thread(target=end_it)
    ending.start()
    with StateFolder(tmp_path / "state"):
        assert was_ended.is_set()
    ending.join(PATIENCE)


def test_a_folder_that_is_released_is_free_though_the_writer_process_lives(tmp_path: Path) -> None:
    with StateFolder(tmp_path / "state") as folder:
        writer = WriterProcess(folder.lock_descriptor)
    with StateFolder(tmp_path / "state"):
        assert writer._process.poll() is None
    writer.close()


def test_a_save_whose_outcome_nobody_took_does_not_hinder_the_next_one(
    writer: WriterProcess, folder: StateFolder
) -> None:
    with TrainingState(folder, small_config(), writer) as state:
        state.initialize()
        state.save()
        for _ in range(3):
            train(state, 1)
            state.saving.begin().wait(PATIENCE)
        assert state.saving.collect() is not None
        assert state.saving.unsaved_iterations == 0
