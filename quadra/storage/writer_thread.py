"""WriterThread: the thread that writes, beside training, the saves that the writer process does not take."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from quadra.byte_progress import carried
from quadra.storage.pending_save import Outcome, PendingSave, Receipt


class WriterThread:
    """One thread, which writes one save after the other."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, "writer")
        self._executor.submit(int)  # starts the thread now: when it is needed, none could be started, perhaps

    def begin(self, commit: Callable[[], Receipt], on_end: Callable[[], None] | None = None) -> PendingSave:
        """Has a save written. `on_end` is called on the writer thread once the save has ended."""
        future = self._submit(carried(commit))
        if on_end is not None:
            future.add_done_callback(lambda _: on_end())
        return PendingSave(lambda timeout: _outcome_of(future, timeout), "thread")

    def _submit(self, commit: Callable[[], Receipt]) -> Future[Receipt]:
        try:
            return self._executor.submit(commit)
        except (
            RuntimeError
        ):  # the interpreter is ending and takes no more work; the save is written by whoever asks for it
            future: Future[Receipt] = Future()
            try:
                future.set_result(commit())
            except Exception as error:  # noqa: BLE001  # it is the outcome, as it would be of the thread
                future.set_exception(error)
            return future

    def close(self, pending: PendingSave | None, then: Callable[[], None]) -> None:
        """Takes no more saves. `then` is called once `pending` is not being written here, at once where it is not."""
        if pending is not None and pending.writer == "thread" and not pending.has_ended:
            self._executor.submit(then)  # the only thread comes to it when it has written the save
        else:
            then()
        self._executor.shutdown(wait=False)


def _outcome_of(future: Future[Receipt], timeout: float | None) -> Outcome | None:
    """Blocks for `timeout` seconds. Returns None where the future is not done by then."""
    try:
        error = future.exception(timeout)
    except TimeoutError:
        return None
    return future.result() if error is None else error
