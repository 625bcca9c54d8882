"""WriterProcess: a process of its own that commits small saves.

A thread that writes a save hands the interpreter to and fro with training some forty times, and each time training may
have to wait to be woken: at 100 saves a second that costs a tenth of the rate. A process costs what its message costs.
Requests lie in shared memory, a pipe says so, and another one brings the answers. The process ends with its parent, however
that ends; a signal that is meant for the server but reaches this process is passed on.
"""

from __future__ import annotations

import contextlib
import marshal
import mmap
import os
import pickle
import select
import signal
import struct
import subprocess
import sys
import tempfile
from typing import NoReturn

from quadra.child_process import kill_with_parent
from quadra.errors import SaveError
from quadra.paths import ROOT
from quadra.storage.commit import CommitRequest, Committed, commit
from quadra.storage.save_record import SaveRecord
from quadra.storage.weights_entries import Contents

CAPACITY = 4 << 20  # bytes of a request; a step on a larger field takes so long that a thread does not disturb it
IS_POSSIBLE = os.name == "posix"  # descriptors are handed to the new process
_LONGEST_ANSWER = 4096  # bytes that a pipe writes as one
_LENGTHS = struct.Struct("<II")  # of the tensors, and of the rest of the request behind them


class WriterProcess:
    """The writer process, from the side of training; it takes one request at a time.

    `lock`: descriptor of the folder's lock. Where the server is killed, the folder is then not free before the writer
    process, which may be in a last call to a slow disk, has ended as well.
    """

    def __init__(self, lock: int | None = None) -> None:
        memory = _shared_memory()
        requests, self._requests = os.pipe()
        self._answers, answers = os.pipe()
        handed = (requests, answers, memory)
        command = (
            f"import sys; sys.path.insert(0, {str(ROOT)!r}); from quadra.storage.writer_process import serve; serve()"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", command, *map(str, handed), str(os.getpid())],
            pass_fds=handed if lock is None else (*handed, lock),
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in the terminal is for the server alone
        )
        self._shared = mmap.mmap(memory, CAPACITY)
        for descriptor in handed:
            os.close(descriptor)
        self._owes_answer = False
        self._poll = select.poll()
        self._poll.register(self._answers, select.POLLIN)

    def send(self, request: CommitRequest) -> bool:
        """Has a request committed, from a copy; `answer` returns what came of it.

        Returns False where the request does not fit, an earlier one is not answered yet, or the process has ended.
        """
        if self._owes_answer and self.answer(0.0) is None:  # one that nobody asked for is dropped
            return False
        folder, lock, present, keep, record, tensors, contents, names, expired = request
        message = marshal.dumps((folder, lock, present, keep, vars(record), tuple(contents), names, expired))
        size, end = len(tensors), len(tensors) + len(message)
        if end > CAPACITY:
            return False
        self._shared[:size] = tensors
        self._shared[size:end] = message
        try:
            os.write(self._requests, _LENGTHS.pack(size, len(message)))
        except BrokenPipeError:
            return False
        self._owes_answer = True
        return True

    def answer(self, timeout: float | None) -> Committed | Exception | None:
        """Blocks for `timeout` seconds (None: without a limit), or until the request that was sent is answered.

        Returns what came of it, once; None where there is no answer by then.
        """
        if not self._poll.poll(None if timeout is None else timeout * 1000.0):
            return None
        self._owes_answer = False
        content = os.read(self._answers, _LONGEST_ANSWER)
        if not content:
            return SaveError("The process that writes saves has ended.")
        answer: Committed | Exception = pickle.loads(content)
        return answer

    def wait(self) -> int:
        """Blocks until the process has ended. Returns its exit code."""
        return self._process.wait()

    def close(self) -> None:
        """Ends the process, once it has finished the request that it has."""
        with contextlib.suppress(OSError):
            os.close(self._requests)
        self._process.wait()
        os.close(self._answers)
        self._shared.close()


def serve() -> NoReturn:
    """Runs the process: commits what is requested until the parent closes the pipe or ends."""
    requests, answers, memory, parent = map(int, sys.argv[1:])
    signals = _end_with(parent)
    shared = memoryview(mmap.mmap(memory, CAPACITY))
    while header := _next_header(requests, signals):
        os.write(answers, _answer_to(_request(shared, *_LENGTHS.unpack(header))))
    os._exit(0)


def _next_header(requests: int, signals: int) -> bytes:
    """Blocks until a request lies in shared memory. Returns its lengths, or nothing once the parent has closed the pipe.

    A signal that comes right before a call that blocks would be handled only when the call returns; so `signals` ends it.
    """
    poll = select.poll()
    for descriptor in (requests, signals):
        poll.register(descriptor, select.POLLIN)
    while True:
        ready = dict(poll.poll())
        if signals in ready:
            os.read(signals, _LONGEST_ANSWER)
        if requests in ready:
            return os.read(requests, _LENGTHS.size)


def _request(shared: memoryview, size: int, length: int) -> CommitRequest:
    folder, lock, present, keep, record, contents, names, expired = marshal.loads(shared[size : size + length])
    tensors = shared[:size]
    return CommitRequest(
        folder, lock, present, keep, SaveRecord(**record), tensors, Contents(*contents), names, expired
    )


def _answer_to(request: CommitRequest) -> bytes:
    outcome: Committed | Exception
    try:
        outcome = commit(request)
    except (OSError, SaveError) as error:
        outcome = error
    except Exception as error:  # noqa: BLE001  # sent to the parent, which shows it; the next request is still carried out
        outcome = SaveError(f"{type(error).__name__}: {error}"[: _LONGEST_ANSWER // 8])
    return pickle.dumps(outcome)


def _end_with(parent: int) -> int:
    """Passes signals on to the parent, and ends when it does, at once where the system can see to that.

    Returns a descriptor from which a byte can be read for each signal.
    """

    def pass_on(number: int, _frame: object) -> None:
        if os.getppid() == parent:
            os.kill(parent, number)

    signals, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, pass_on)
    kill_with_parent(parent)
    return signals


def _shared_memory() -> int:
    """Returns a descriptor of memory that two processes can map, with no name that could outlive them."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("quadra-save")
    else:  # macOS
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, CAPACITY)
    return descriptor
