"""Every error of our own, one class for each thing a caller would treat differently.

    QuadraError
    ├── ConfigurationError       a value that was asked for is not possible (names the field)
    ├── CorpusError              the training text cannot be read, or has no line
    ├── RefusedError             the life cycle does not allow this command now
    │   └── StaleRulesError      the alert rules are others by now than those that the change was made from
    ├── NameTakenError           another saved state has this name: overwriting it must be asked for
    ├── TooManyRequestsError     a client asks for more than its share (says when to try again)
    ├── WorkerClosedError        the server is shutting down and takes no more commands
    ├── IntegrityError           three void iterations in a row; training has stopped
    ├── FolderError
    │   ├── FolderUnusableError  the state directory cannot be created, read or written
    │   └── FolderLockedError    another live process holds the state directory
    ├── SaveError                a save did not become durable; the previous one is intact
    │   ├── FolderChangedError   the state directory or the last save in it is not ours any more: nothing is overwritten
    │   └── SaveTimeoutError     the disk has not answered yet; the save may still become durable
    ├── AccessError              whoever asks may not
    │   ├── UnknownHostError       the address is none that this server goes by (a rebound name, perhaps)
    │   ├── ForeignOriginError     another site's page asks
    │   ├── TokenRequiredError     no token came with the request, or the wrong one
    │   ├── TooManyAttemptsError   too many wrong tokens from one address; says how long to wait
    │   └── WatchingOnlyError      a watcher's token may look and do nothing
    ├── BackupError              the place of the backups cannot be reached, read or written now
    └── LoadError                nothing was loaded
        ├── NoSavedStateError    there is nothing to load
        ├── UnknownSourceError   the asked-for saved state is not there
        ├── BadArchiveError      what was uploaded is not the three files of a saved state, or is made to do harm
        └── BadFileError         one file is at fault (names it), and set aside where it stands in the way
            ├── DamagedFileError     unreadable, truncated, altered, or holding what never belongs there
            ├── InaccessibleFileError  the system does not let us read it now; it may be whole
            ├── MissingFileError     a file of the three is not there
            ├── NewerFormatError     written by a newer version of this program
            ├── MissingKeyError      readable, but an entry that must be there is not
            └── MismatchError        readable, but it disagrees with the other two files

A message says what happened, why, and what the user can do. `code` is stable and reaches the browser.
"""

from pathlib import Path


class QuadraError(Exception):
    """Base of all errors of this package; `code` names the kind for programs."""

    code = "quadra_error"

    @property
    def message(self) -> str:
        """The sentence that is shown to people."""
        return str(self)


class ConfigurationError(QuadraError):
    """A value that was asked for is not possible; `field` names it."""

    code = "invalid_value"

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field} {reason}")
        self.field = field


class CorpusError(QuadraError):
    """The training text cannot be read, or has no line to train on."""

    code = "corpus_unusable"


class RefusedError(QuadraError):
    """The life cycle does not allow this command in the present state."""

    code = "refused"


class StaleRulesError(RefusedError):
    """The alert rules were changed meanwhile, by another browser or script: the change would undo that."""

    code = "rules_changed"


class NameTakenError(QuadraError):
    """Another saved state has this name; it is overwritten only where that is asked for."""

    code = "name_taken"


class TooManyRequestsError(QuadraError):
    """A client asks for more than its share; `retry_after` is the seconds after which it may try again."""

    code = "too_many_requests"

    def __init__(self, reason: str, retry_after: int) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class WorkerClosedError(QuadraError):
    """The server is shutting down and takes no more commands."""

    code = "closing"


class IntegrityError(QuadraError):
    """Three iterations in a row had to be undone because a number was not finite."""

    code = "integrity_strikes"


class FolderError(QuadraError):
    """The state directory cannot be used."""

    code = "folder_error"


class FolderUnusableError(FolderError):
    """The state directory cannot be created, read or written."""

    code = "folder_unusable"


class FolderLockedError(FolderError):
    """Another live process (or another open TrainingState) holds the state directory."""

    code = "folder_locked"


class SaveError(QuadraError):
    """A save did not become durable; the previous saved state is intact."""

    code = "save_failed"


class FolderChangedError(SaveError):
    """The state directory, or the last save in it, was exchanged by someone else: nothing is written over it."""

    code = "folder_changed"


class SaveTimeoutError(SaveError):
    """The disk has not answered in time; the save is still under way and may yet become durable."""

    code = "save_timeout"


class BackupError(QuadraError):
    """The place of the backups cannot be reached, read or written now; trying again may help."""

    code = "backup_failed"


class AccessError(QuadraError):
    """Whoever asks may not."""

    code = "forbidden"


class UnknownHostError(AccessError):
    """The request names a host that this server does not go by."""

    code = "unknown_host"


class ForeignOriginError(AccessError):
    """A page of another site asks."""

    code = "foreign_origin"


class TokenRequiredError(AccessError):
    """No token came with the request, or the wrong one."""

    code = "token_required"


class TooManyAttemptsError(AccessError):
    """Too many wrong tokens came from one address; in `seconds` it may try again."""

    code = "too_many_attempts"

    def __init__(self, seconds: int) -> None:
        super().__init__(f"Too many wrong tokens came from your address. Try again in {seconds} seconds.")
        self.seconds = seconds


class WatchingOnlyError(AccessError):
    """Whoever came in with the watchers' token may look and do nothing."""

    code = "watching_only"


class LoadError(QuadraError):
    """Nothing was loaded."""

    code = "load_failed"


class NoSavedStateError(LoadError):
    """There is nothing to load."""

    code = "no_saved_state"


class UnknownSourceError(LoadError):
    """The saved state that was asked for is not there."""

    code = "unknown_source"


class BadArchiveError(LoadError):
    """What was uploaded is not the three files of a saved state, or is made to do harm; nothing of it was taken."""

    code = "bad_archive"


class BadFileError(LoadError):
    """One file of a saved state is at fault; `file` names it."""

    code = "bad_file"

    def __init__(self, file: str | Path, reason: str) -> None:
        self.path = Path(file)
        self.file = self.path.name
        super().__init__(f"{self.file}: {reason}")


class DamagedFileError(BadFileError):
    """The file is unreadable, truncated or altered, or holds what never belongs there."""

    code = "damaged_file"


class InaccessibleFileError(BadFileError):
    """The system does not let us read the file now; it may be whole."""

    code = "inaccessible_file"


def unreadable(file: str | Path, reason: str, error: Exception) -> DamagedFileError | InaccessibleFileError:
    """Returns the error for a file whose content could not be used; InaccessibleFileError where the machine lacks something.

    A file is not to be called damaged, and set aside, because memory, descriptors or threads have run out.
    """
    if isinstance(error, (MemoryError, OSError, ImportError)) or any(words in str(error) for words in _SHORTAGES):
        return InaccessibleFileError(file, f"cannot be read now: {error or 'there is not enough memory'}")
    return DamagedFileError(file, reason)


_SHORTAGES = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "can't start new thread",
)  # as torch says it


class MissingFileError(BadFileError):
    """A file of the three is not there."""

    code = "missing_file"


class NewerFormatError(BadFileError):
    """The file was written by a newer version of this program."""

    code = "newer_format"


class MissingKeyError(BadFileError):
    """The file is readable, but an entry that must be there is not."""

    code = "missing_key"


class MismatchError(BadFileError):
    """The file is readable, but it disagrees with the other two files."""

    code = "mismatch"
