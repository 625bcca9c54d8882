"""StateManager: what people change in saved states: save by name, import, name, note, pin, delete and undelete.

A deleted state waits for an hour, under its label, before its files are removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from quadra.errors import BadFileError, FolderError, NameTakenError, RefusedError, SaveError, UnknownSourceError
from quadra.states.alert_rules import AlertRules, read_rules
from quadra.states.listing import BEST_STATE, CURRENT, POINT, RUN, SAVE, SLOT, SLOT_PREFIX, ListedState, StateListing
from quadra.states.own_texts import UploadedText, describe, id_of, is_stored_intact, note_file, text_file
from quadra.storage.catalog import iso, summarize
from quadra.storage.files import safe_pickle
from quadra.storage.files.durable import Piece, link_or_copy, read_file, remove, replace_file, sync_folder
from quadra.storage.folder import StateFolder
from quadra.storage.labels import LONGEST_NAME, NO_LABEL, Label, checked_name, checked_note, read_labels, write_labels
from quadra.storage.layout import BEST_FILE, FILES, LABELS, LABELS_COPY, RESTORE_POINTS, SYSTEM, WEIGHTS, text_names
from quadra.storage.restore_points import RestorePoints
from quadra.storage.save_record import peek, resealed, verify

if TYPE_CHECKING:
    from quadra.model.corpus import Corpus

log = logging.getLogger("quadra")

UNDO = timedelta(hours=1)  # for which a deleted state can be undeleted

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def _with_our_error(act: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Raises SaveError where `act` raises OSError: what was there is then intact."""

    @wraps(act)
    def wrapper(*arguments: Parameters.args, **named: Parameters.kwargs) -> Result:
        try:
            return act(*arguments, **named)
        except OSError as error:
            raise SaveError(f"{error.strerror or error} ({error.filename or 'state directory'})") from error

    return wrapper


class StateManager:
    """Changes the saved states of a held folder. Every method raises SaveError where the disk fails."""

    def __init__(self, folder: StateFolder, points: RestorePoints) -> None:
        self._folder, self._points = folder, points
        self.listing = StateListing(folder.layout)
        self.alert_rules = AlertRules(folder)

    @property
    def library(self) -> StateListing:
        """The former name of `listing`, for scripts."""
        return self.listing

    @_with_our_error
    def repair_labels(self) -> None:
        """Sets a damaged file of labels aside and logs a warning."""
        self._labels()

    @_with_our_error
    def add_slot(self, name: str, files: Mapping[str, Iterable[Piece]], overwrite: bool = False) -> str:
        """Stores three complete files under a name. Returns the id of the new state.

        A state of the same name that is to be overwritten is deleted when the new one is durable. Raises ConfigurationError
        or NameTakenError.
        """
        name = checked_name(name)
        labels = self._labels()
        others = self._slots_named(name, labels)
        if others and not overwrite:
            raise NameTakenError(
                f"There is a saved state named {name!r} already. Choose another name, or overwrite it."
            )
        slot = secrets.token_hex(8)
        self._folder.add_slot(slot, files)
        state = SLOT_PREFIX + slot
        self._write({**labels, state: Label(name=name), **{other: self._deleted(labels[other]) for other in others}})
        return state

    @_with_our_error
    def import_folder(self, folder: Path, name: str) -> str:
        """Makes a folder of three verified files a named state. Returns its id; a name that is taken gets a number."""
        if not name.strip():
            arrived = summarize(folder / WEIGHTS, folder)
            name = f"imported run {arrived.id[:8]}, iteration {arrived.iteration_count}"
        base, labels, number = checked_name(name[: LONGEST_NAME - 10]), self._labels(), 1
        name = base
        while self._slots_named(name, labels):
            number += 1
            name = f"{base} ({number})"
        for file in (folder / text for text in text_names(folder) if text.endswith(".txt")):
            self.add_text(file, describe(file))
        state = self.add_slot(name, self._numbered(folder))
        with contextlib.suppress(BadFileError):  # it has none, or `transfer.verify_import` has warned
            book = read_rules(folder)
            for warning in self.alert_rules.try_write(state, book.get(summarize(folder / WEIGHTS, folder).id, ())):
                log.warning(warning)
        return state

    def _numbered(self, folder: Path) -> dict[str, Sequence[Piece]]:
        """Returns the three files of a state from elsewhere, with the number of a save that is made here now."""
        content = {file: read_file(folder / file) for file in FILES}
        files: dict[str, Sequence[Piece]] = {file: [content[file]] for file in FILES}
        number, record = self._folder.save_numbers.next(), verify(content[WEIGHTS], folder / WEIGHTS)
        if record is not None:
            return {**files, WEIGHTS: resealed(content[WEIGHTS], replace(record, save_number=number))}
        system = safe_pickle.loads(content[SYSTEM], folder / SYSTEM, arrays=True)
        return {**files, SYSTEM: [safe_pickle.dumps({**system, "save_number": number})]}

    @_with_our_error
    def add_text(self, file: Path, text: UploadedText) -> None:
        """Makes a text that was written durably elsewhere one that runs can train on.

        The text is durable on return; after a crash it is there as a whole or not at all. A text of the same id that was
        altered meanwhile is set aside, not overwritten.
        """
        self._folder.require_own()
        corpora, target = self._folder.corpora_folder(), text_file(self._folder.path, text.id)
        replace_file(note_file(self._folder.path, text.id), [text.note()])
        if is_stored_intact(self._folder.path, text.id):
            return
        self._folder.set_aside([target])
        link_or_copy(file, target)
        sync_folder(corpora)

    def ensure_text(self, corpus: Corpus) -> tuple[str, ...]:
        """Writes the own text of the run in memory where the folder lacks it. Returns warnings for people."""
        text = id_of(corpus.reference)
        if text is None:
            return ()
        missing = f"The run's own text could not be put into {self._folder.path}. Give it again in Settings"
        try:
            if is_stored_intact(self._folder.path, text):
                return ()
            if corpus.content is None or hashlib.sha256(corpus.content).hexdigest() != text:
                return (f"{missing}: it has another content than when it was given.",)
            self._write_text(corpus, text, corpus.content)
        except (OSError, FolderError) as error:
            return (f"{missing}: {getattr(error, 'strerror', None) or str(error).removesuffix('.')}.",)
        return ()

    def _write_text(self, corpus: Corpus, text: str, content: bytes) -> None:
        target = text_file(self._folder.path, text)
        self._folder.corpora_folder()
        self._folder.set_aside([target])
        replace_file(target, [content])
        replace_file(note_file(self._folder.path, text), [replace(describe(target), name=corpus.name).note()])

    @_with_our_error
    def label(
        self, state_id: str, name: str | None = None, note: str | None = None, pinned: bool | None = None
    ) -> ListedState:
        """Changes the label of a state; None leaves a part as it is. Returns the state with its new label.

        Raises UnknownSourceError, ConfigurationError or NameTakenError.
        """
        entry, labels = self.listing.find(state_id), self._labels()
        label = labels.get(state_id, NO_LABEL)
        if name is not None:
            name = checked_name(name) if name.strip() or SLOT in entry.kinds else ""
            if SLOT in entry.kinds and set(self._slots_named(name, labels)) - {state_id}:
                raise NameTakenError(f"There is a saved state named {name!r} already. Choose another name.")
            label = replace(label, name=name)
        if note is not None:
            label = replace(label, note=checked_note(note))
        if pinned is not None:
            label = replace(label, pinned=pinned)
        if label != NO_LABEL:
            self._copy_to_restore_point(entry)
        self._write({**labels, state_id: label})
        return replace(entry, label=label)

    def _copy_to_restore_point(self, entry: ListedState) -> None:
        """Ensures that a labelled state outlives the next ten saves, and a better state of its run."""
        if not {SAVE, BEST_STATE} & set(entry.kinds) or {POINT, CURRENT, RUN} & set(entry.kinds):
            return
        target = self._folder.keep_as_restore_point(entry.file, entry.run, entry.iteration_count)
        record = peek(target)
        if record is None or record.state != entry.id:  # the save was superseded just then
            remove(target)
            raise UnknownSourceError(f"The saved state {entry.id!r} has just been superseded by a newer one.")

    @_with_our_error
    def delete(self, state_id: str) -> None:
        """Marks a state to be removed in an hour. Raises UnknownSourceError, or RefusedError for what cannot be deleted."""
        entry = self.listing.find(state_id)
        if CURRENT in entry.kinds:
            raise RefusedError("This is the run on the page. Initialize another one, or reset, to be rid of it.")
        if SAVE in entry.kinds:
            raise RefusedError("This is one of the last ten saves, which later ones replace by themselves.")
        labels = self._labels()
        self._write({**labels, state_id: self._deleted(labels.get(state_id, NO_LABEL))})

    @_with_our_error
    def undelete(self, state_id: str) -> None:
        """Undoes a deletion. Raises UnknownSourceError where it is too late, NameTakenError."""
        self.listing.find(state_id)
        labels = self._labels()
        label = replace(labels.get(state_id, NO_LABEL), deleted_at=None)
        if state_id.startswith(SLOT_PREFIX) and self._slots_named(label.name, labels):
            raise NameTakenError(f"There is a saved state named {label.name!r} now. Rename that one first.")
        self._write({**labels, state_id: label})

    def take_back(self, state_id: str) -> None:
        """The former name of `undelete`, for scripts."""
        self.undelete(state_id)

    @_with_our_error
    def purge(self, now: datetime) -> None:
        """Removes the files of states that were deleted more than an hour before `now`."""
        labels = self._labels()
        late = iso(now - UNDO)
        due = [state for state, label in labels.items() if label.deleted_at is not None and label.deleted_at < late]
        if not due:
            return
        for entry in (entry for entry in self.listing.entries() if entry.id in due):
            self._remove(entry)
        self._write({state: label for state, label in labels.items() if state not in due})

    def _remove(self, entry: ListedState) -> None:
        if RUN in entry.kinds:
            self._folder.remove_restore_points(entry.run)
            self._folder.remove_run(entry.run)
        elif SLOT in entry.kinds:
            self._folder.remove_slot(entry.id.removeprefix(SLOT_PREFIX))
        elif {POINT, BEST_STATE} & set(entry.kinds):
            points = self._folder.path / RESTORE_POINTS / entry.run
            remove(self._folder.layout.restore_point(entry.run, entry.iteration_count))
            if BEST_STATE in entry.kinds:
                remove(points / BEST_FILE)
            sync_folder(points)

    def _slots_named(self, name: str, labels: Mapping[str, Label]) -> list[str]:
        """Returns the ids of the states with this name that are not deleted."""
        there = {SLOT_PREFIX + folder.name for folder in self._folder.layout.slot_folders()}
        return [
            state
            for state, label in labels.items()
            if state in there and label.deleted_at is None and label.name.casefold() == name.casefold()
        ]

    def _deleted(self, label: Label) -> Label:
        return replace(label, deleted_at=iso(datetime.now(UTC)))

    def _labels(self) -> dict[str, Label]:
        """Returns the labels by id; a damaged file is set aside with a warning, so that new names can be given."""
        try:
            return read_labels(self._folder.path)
        except BadFileError as error:
            target = self._folder.set_aside([self._folder.path / name for name in (LABELS, LABELS_COPY)])
            log.warning("The names of saved states are lost: %s. Their file was set aside in %s.", error, target)
            return {}

    def _write(self, labels: Mapping[str, Label]) -> None:
        self._folder.require_own()
        write_labels(self._folder.path, labels)
        self._points.forget()
