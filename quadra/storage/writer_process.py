"""WriterProcess: a process of its own that carries out the commits of small saves.

A thread that writes a save hands the interpreter to and fro with training some forty times, and each time training may
have to wait to be woken: at 100 saves a second that costs a tenth of the rate. A process costs what its message costs.
Orders lie in shared memory, a pipe says so, and another one brings the outcomes. The scribe ends with its parent, however
that ends; a signal that is meant for the server but reaches the scribe is passed on.
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

from quadra.errors import SaveError
from quadra.paths import ROOT
from quadra.storage.commit import Committed, Order, carry_out
from quadra.storage.save_record import SaveRecord
from quadra.storage.weights_entries import Contents

CAPACITY = 4 << 20  # bytes of an order; a step on a larger field takes so long that a thread does not disturb it
IS_POSSIBLE = os.name == "posix"  # descriptors are handed to the new process
_LONGEST_REPLY = 4096  # bytes that a pipe takes as one
_LENGTHS = struct.Struct("<II")  # of the tensors, and of the rest of the order behind them


class PendingCommit:
    """The outcome of an order, once it is there."""

    def __init__(self, pipe: int, poll: select.poll) -> None:
        self._pipe, self._poll = pipe, poll
        self._outcome: Committed | Exception | None = None

    def done(self) -> bool:
        """Whether it is there; does not wait."""
        return self._is_there(0)

    def exception(self, timeout: float | None = None) -> Exception | None:
        """Wait for it; what went wrong, or None. Raises TimeoutError."""
        if not self._is_there(timeout):
            raise TimeoutError
        return self._outcome if isinstance(self._outcome, Exception) else None

    def result(self, timeout: float | None = None) -> Committed:
        """Wait for it. Raises what went wrong, or TimeoutError."""
        error = self.exception(timeout)
        if error is not None:
            raise error
        assert isinstance(self._outcome, Committed), "no error and not a commit"
        return self._outcome

    def _is_there(self, timeout: float | None) -> bool:
        if self._outcome is None and self._poll.poll(None if timeout is None else timeout * 1000.0):
            content = os.read(self._pipe, _LONGEST_REPLY)
            self._outcome = pickle.loads(content) if content else SaveError("The process that writes saves has ended.")
        return self._outcome is not None


class WriterProcess:
    """The process, from the side of training; one order at a time.

    `lock`: descriptor of the folder's lock. Where the server is killed, the folder is then not free before the scribe,
    which may be in a last call to a slow disk, has ended as well.
    """

    def __init__(self, lock: int | None = None) -> None:
        memory = _shared_memory()
        orders, self._orders = os.pipe()
        self._replies, replies = os.pipe()
        handed = (orders, replies, memory)
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
        self._newest: PendingCommit | None = None
        self._poll = select.poll()
        self._poll.register(self._replies, select.POLLIN)

    @property
    def is_alive(self) -> bool:
        """Whether it can take orders."""
        return self._process.poll() is None

    def send(self, order: Order) -> PendingCommit | None:
        """Have an order carried out; None where it does not fit, an earlier one is under way, or the process has ended."""
        if self._newest is not None and not self._newest.done():
            return None
        folder, lock, present, keep, record, tensors, contents, points, expired = order
        message = marshal.dumps((folder, lock, present, keep, vars(record), tuple(contents), points, expired))
        size, end = len(tensors), len(tensors) + len(message)
        if end > CAPACITY:
            return None
        self._shared[:size] = tensors
        self._shared[size:end] = message
        try:
            os.write(self._orders, _LENGTHS.pack(size, len(message)))
        except BrokenPipeError:
            return None
        self._newest = PendingCommit(self._replies, self._poll)
        return self._newest

    def wait(self) -> int:
        """Until the process has ended; returns its exit code."""
        return self._process.wait()

    def close(self) -> None:
        """End the process, once it has finished what it is at."""
        with contextlib.suppress(OSError):
            os.close(self._orders)
        self._process.wait()
        os.close(self._replies)
        self._shared.close()


def serve() -> NoReturn:
    """The process: carry out orders until the parent closes the pipe or ends."""
    orders, replies, memory, parent = map(int, sys.argv[1:])
    _end_with(parent)
    shared = memoryview(mmap.mmap(memory, CAPACITY))
    with os.fdopen(orders, "rb") as stream:
        while header := stream.read(_LENGTHS.size):
            os.write(replies, _reply_to(_order(shared, *_LENGTHS.unpack(header))))
    os._exit(0)


def _order(shared: memoryview, size: int, length: int) -> Order:
    folder, lock, present, keep, record, contents, points, expired = marshal.loads(shared[size : size + length])
    return Order(folder, lock, present, keep, SaveRecord(**record), shared[:size], Contents(*contents), points, expired)


def _reply_to(order: Order) -> bytes:
    outcome: Committed | Exception
    try:
        outcome = carry_out(order)
    except (OSError, SaveError) as error:
        outcome = error
    except Exception as error:  # noqa: BLE001  # told to the parent, which shows it; the next order is still carried out
        outcome = SaveError(f"{type(error).__name__}: {error}"[: _LONGEST_REPLY // 8])
    return pickle.dumps(outcome)


def _end_with(parent: int) -> None:
    """Pass signals on to the parent, and end when it does, without an instant's delay where the system can see to that."""

    def pass_on(number: int, _frame: object) -> None:
        if os.getppid() == parent:
            os.kill(parent, number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, pass_on)
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(0)


def _shared_memory() -> int:
    """A descriptor of memory that two processes can map, with no name that could outlive them."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("quadra-save")
    else:  # macOS
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, CAPACITY)
    return descriptor
