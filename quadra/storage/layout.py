"""StateLayout: the names in a state directory and where they stand; it reads names, and changes nothing."""

from __future__ import annotations

import os
import re
from pathlib import Path

from quadra.paths import expanded
from quadra.storage.files.durable import is_plain_file, is_plain_folder

WEIGHTS = "oscillator_weights.pth"
METRICS = "metrics_history.pkl"
SYSTEM = "system_state.pkl"
FILES = (METRICS, WEIGHTS, SYSTEM)
SAVES = "saves"  # earlier saves of the present run, and a second copy of its metrics
METRICS_COPY = "history.pkl"
RING = tuple(f"{slot}.pth" for slot in range(12))
RUNS = "runs"  # earlier runs, three files each
RESTORE_POINTS = "points"  # restore points of each run: weights files, whose older history stands with the run
SLOTS = "slots"  # named states, three files each
SET_ASIDE = "set-aside"
UPLOADS = "uploads"  # what is being uploaded, until it is verified
CORPORA = "corpora"  # own texts: what people gave as the corpus of a run
UPLOADED_TEXT = "text.txt"  # one of them on its way there, in a folder of its own in `uploads`
LABELS = "labels.json"  # names, notes and pins, and a second copy
LABELS_COPY = "labels.copy.json"
ALERTS = "alerts.json"  # the alert rules of every run
LISTS = (LABELS, LABELS_COPY, ALERTS)
BEST_FILE = "best.pth"  # in the folder of a run's points: the state with the best smoothed reward
RESET_MARKER = ".reset"
SCRATCH = ".scratch"  # temporary files, where the system has no place for them
WRITE_TEST = ".write-test"
SAVES_FILES = (*RING, METRICS_COPY)  # every name in `saves`
ID = re.compile(r"[0-9a-f]{16}")  # of a run or a slot
SET_ASIDE_ID = re.compile(r"\d{8}T\d{6}Z(-\d+)?")
UPLOAD_ID = re.compile(r"upload-[0-9a-f]{16}")
TEXT_ID = re.compile(r"[0-9a-f]{64}")  # SHA-256 of an own text
TEXT_FILE = re.compile(rf"{TEXT_ID.pattern}\.(txt|json)")  # an own text, and what it is called
RESTORE_POINT_FILE = re.compile(r"[1-9]\d{0,15}\.pth")


class StateLayout:
    """Where the files of a state directory stand; the directory is neither held nor changed."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = expanded(path)

    def run_folders(self) -> list[Path]:
        """Returns the folders of earlier runs, in no promised order."""
        return own_folders(self.path / RUNS, ID)

    def slot_folders(self) -> list[Path]:
        """Returns the folders of named states, in no promised order."""
        return own_folders(self.path / SLOTS, ID)

    def restore_point_folders(self) -> list[Path]:
        """Returns the folders of restore points, one for each run that has any, in no promised order."""
        return own_folders(self.path / RESTORE_POINTS, ID)

    def restore_points_of(self, run: str) -> list[Path]:
        """Returns the weights files of a run's restore points, the oldest iteration first; the best state is not among them."""
        folder = self.path / RESTORE_POINTS / run
        if not (is_plain_folder(folder.parent) and is_plain_folder(folder)):
            return []
        files = [file for file in folder.iterdir() if RESTORE_POINT_FILE.fullmatch(file.name) and is_plain_file(file)]
        return sorted(files, key=iteration_of)

    def earlier_saves(self) -> list[Path]:
        """Returns the weights files of earlier saves, in no promised order."""
        folder = self.path / SAVES
        return [] if folder.is_symlink() else [folder / name for name in RING if is_plain_file(folder / name)]

    def restore_point(self, run: str, iteration: int) -> Path:
        """Returns where the restore point of an iteration stands."""
        return self.path / RESTORE_POINTS / run / f"{iteration}.pth"


def iteration_of(point: Path) -> int:
    """Returns the iteration that the name of a restore point says."""
    return int(point.stem)


def restore_point_names(folder: Path, form: str = "{}") -> list[str]:
    """Returns the names of restore points in a folder; `form`: how they are written, `.{}.tmp` for temporary files."""
    own = re.compile(re.escape(form).replace(r"\{\}", rf"({RESTORE_POINT_FILE.pattern}|{re.escape(BEST_FILE)})"))
    return [entry.name for entry in folder.iterdir() if own.fullmatch(entry.name)]


def text_names(folder: Path, form: str = "{}") -> list[str]:
    """Returns the names of own texts and their notes in a folder; `form`: as in `restore_point_names`."""
    if not is_plain_folder(folder):
        return []
    start, end = form.split("{}")
    inner = {entry.name: entry.name.removeprefix(start).removesuffix(end) for entry in folder.iterdir()}
    return [name for name, own in inner.items() if TEXT_FILE.fullmatch(own) and name == form.format(own)]


def own_folders(parent: Path, pattern: re.Pattern[str]) -> list[Path]:
    """Returns the folders below `parent` whose names are ours; no link is followed."""
    if not is_plain_folder(parent):
        return []
    return [entry for entry in parent.iterdir() if pattern.fullmatch(entry.name) and is_plain_folder(entry)]


def metrics_files(folder: Path, run: str) -> list[Path]:
    """Returns where a run's history may stand: the metrics file, then its copies where they belong; no link is followed."""
    copies = [folder / SAVES / METRICS_COPY] if is_plain_folder(folder / SAVES) else []
    kept = folder / RUNS / run
    if is_plain_folder(kept.parent) and is_plain_folder(kept) and is_plain_file(kept / METRICS):
        copies.append(kept / METRICS)
    return [folder / METRICS, *copies]
